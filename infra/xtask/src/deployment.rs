//! What is deployed, as fingerprints: enough to tell what has to be done.

use std::collections::BTreeMap;

use serde_json::{Value, json};

/// What was or is to be deployed, by fingerprints.
#[derive(Clone, PartialEq, Eq)]
pub struct Deployment {
    /// Of the template and its parameters.
    pub template: String,
    /// Of what the template reads from SSM and Secrets Manager while it is deployed. CloudFormation does not notice when
    /// that changes. Without the public keys, which the functions get another way too.
    pub resolved: String,
    pub functions: BTreeMap<String, String>,
    /// Functions whose code was replaced since `sam deploy`: CloudFormation does not know what runs there.
    pub patched: Vec<String>,
}

impl Deployment {
    pub fn is_same_stack(&self, other: &Self) -> bool {
        self.template == other.template
            && self.resolved == other.resolved
            && self.functions.keys().eq(other.functions.keys())
    }

    pub fn changed(&self, other: &Self) -> Vec<String> {
        let differs = |(name, fingerprint): &(&String, &String)| self.functions.get(*name) != Some(*fingerprint);
        other.functions.iter().filter(differs).map(|(name, _)| name.clone()).collect()
    }

    pub fn to_text(&self) -> String {
        json!({
            "template": self.template,
            "resolved": self.resolved,
            "functions": self.functions,
            "patched": self.patched,
        })
        .to_string()
    }

    pub fn of_text(text: &str) -> Option<Self> {
        let value: Value = serde_json::from_str(text).ok()?;
        let functions = value["functions"].as_object()?.iter();
        let patched = value["patched"].as_array()?.iter();
        Some(Self {
            template: value["template"].as_str()?.to_owned(),
            resolved: value["resolved"].as_str()?.to_owned(),
            functions: functions
                .map(|(name, value)| Some((name.clone(), value.as_str()?.to_owned())))
                .collect::<Option<_>>()?,
            patched: patched.map(|name| name.as_str().map(str::to_owned)).collect::<Option<_>>()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::Deployment;

    fn deployment(functions: &[(&str, &str)]) -> Deployment {
        let functions = functions.iter().map(|(name, print)| ((*name).to_owned(), (*print).to_owned())).collect();
        Deployment { template: "t".to_owned(), resolved: "r".to_owned(), functions, patched: vec!["health".to_owned()] }
    }

    #[test]
    fn only_functions_with_other_code_are_replaced() {
        let old = deployment(&[("a", "1"), ("b", "1")]);
        let new = deployment(&[("a", "1"), ("b", "2")]);
        assert!(old.is_same_stack(&new));
        assert_eq!(old.changed(&new), ["b"]);
    }

    #[test]
    fn a_new_function_is_a_new_stack() {
        assert!(!deployment(&[("a", "1")]).is_same_stack(&deployment(&[("a", "1"), ("b", "1")])));
    }

    #[test]
    fn what_is_written_down_is_read_back() {
        let deployment = deployment(&[("a", "1")]);
        assert!(Deployment::of_text(&deployment.to_text()) == Some(deployment));
        assert!(Deployment::of_text("{}").is_none());
    }
}
