//! A temporary change of a deployed function's configuration.

use serde_json::{Value, json};

use crate::{Stage, aws};

/// A function and its deployed environment variables. The first request after a change gets a new environment.
pub struct Deployed {
    path: String,
    variables: Value,
}

impl Deployed {
    #[must_use]
    pub fn of(function: &str) -> Self {
        let path = configuration(function);
        let variables = aws::call("lambda", "GET", &path, None)["Environment"]["Variables"].clone();
        Self { path, variables }
    }

    /// Deploys it with other values of some variables.
    pub fn put_with(&self, others: &[(&str, &str)]) {
        let mut variables = self.variables.clone();
        for (name, value) in others {
            variables[name] = json!(value);
        }
        self.put_all(&variables);
    }

    /// Restores its deployed variables.
    pub fn put(&self) {
        self.put_all(&self.variables);
    }

    fn put_all(&self, variables: &Value) {
        let configuration = json!({ "Environment": { "Variables": variables } });
        let _ = aws::call("lambda", "PUT", &self.path, Some(&configuration));
    }
}

/// The path of a function's configuration.
#[must_use]
pub fn configuration(function: &str) -> String {
    format!("/2015-03-31/functions/{}/configuration", Stage::function(function))
}
