//! Lambda: code, environment and alias of a deployed function, and direct invocations.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};
use ureq::http::Method;

use super::Aws;
use crate::process::wait_until;

/// The bucket from which CloudFormation and Lambda read zipped code.
pub const BUCKET: &str = "souk-artifacts";

/// How long a change of a function may take to be in force.
const UPDATE_TIMEOUT: Duration = Duration::from_secs(30);

/// A deployed function and the variables of its environment.
pub struct Function {
    pub name: String,
    variables: Value,
    revision: Value,
}

impl Function {
    pub fn variable(&self, name: &str) -> Option<&str> {
        self.variables[name].as_str()
    }

    /// For [`Aws::update_environment`].
    pub fn set_variable(&mut self, name: &str, value: &str) {
        self.variables[name] = json!(value);
    }
}

impl Aws {
    pub fn create_bucket(&self) -> Result<()> {
        self.rest("s3", &Method::PUT, &format!("/{BUCKET}"), None).map(drop)
    }

    pub fn update_code(&self, function: &str, zip: Vec<u8>) -> Result<()> {
        let key = format!("patched/{function}.zip");
        let upload = self.request("s3", &Method::PUT, &format!("/{BUCKET}/{key}")).body(zip)?;
        self.send(upload)?;
        let path = format!("/2015-03-31/functions/{function}/code");
        self.rest("lambda", &Method::PUT, &path, Some(&json!({"S3Bucket": BUCKET, "S3Key": key}))).map(drop)
    }

    /// Points an alias of a function to `$LATEST`: always to its newest code.
    pub fn follow_latest(&self, function: &str, alias: &str) -> Result<()> {
        let path = format!("/2015-03-31/functions/{function}/aliases/{alias}");
        self.rest("lambda", &Method::PUT, &path, Some(&json!({"FunctionVersion": "$LATEST"}))).map(drop)
    }

    /// Invokes a function and waits for its reply, or its error object.
    pub fn invoke(&self, function: &str, event: &Value) -> Result<Value> {
        let path = format!("/2015-03-31/functions/{function}/invocations");
        self.rest("lambda", &Method::POST, &path, Some(event))
    }

    /// The URL of a function that has one.
    pub fn function_url(&self, function: &str) -> Result<String> {
        let reply = self.rest("lambda", &Method::GET, &format!("/2021-10-31/functions/{function}/url"), None)?;
        reply["FunctionUrl"].as_str().map(str::to_owned).with_context(|| format!("{function} has no URL"))
    }

    pub fn functions(&self) -> Result<Vec<Function>> {
        let reply = self.rest("lambda", &Method::GET, "/2015-03-31/functions/?MaxItems=1000", None)?;
        let functions = reply["Functions"].as_array().into_iter().flatten();
        let read = |function: &Value| {
            Some(Function {
                name: function["FunctionName"].as_str()?.to_owned(),
                variables: function["Environment"]["Variables"].clone(),
                revision: function["RevisionId"].clone(),
            })
        };
        Ok(functions.filter_map(read).collect())
    }

    /// Updates a function's environment. Optimistic locking: fails if the function has changed since it was read.
    pub fn update_environment(&self, function: &Function) -> Result<()> {
        let body = json!({"Environment": {"Variables": function.variables}, "RevisionId": function.revision});
        self.rest("lambda", &Method::PUT, &configuration_path(&function.name), Some(&body)).map(drop)
    }

    /// Waits until a function's last change is in force.
    pub fn wait_until_updated(&self, function: &str) -> Result<()> {
        let status = || Ok::<_, anyhow::Error>(self.configuration(function)?["LastUpdateStatus"].clone());
        if !wait_until(UPDATE_TIMEOUT, || status().is_ok_and(|status| status != "InProgress"))
            || status()? != "Successful"
        {
            bail!("{function} does not take its new configuration");
        }
        Ok(())
    }

    fn configuration(&self, function: &str) -> Result<Value> {
        self.rest("lambda", &Method::GET, &configuration_path(function), None)
    }
}

fn configuration_path(function: &str) -> String {
    format!("/2015-03-31/functions/{function}/configuration")
}
