//! The fingerprint of a deployed stack: enough to tell how much has to be deployed anew.

use std::collections::BTreeMap;

use serde_json::{Value, json};

/// Fingerprints of a stack's parts, as deployed or as wanted.
#[derive(Clone, PartialEq, Eq)]
pub struct StackFingerprint {
    /// Of the template and its parameters.
    pub template: String,
    /// Of the values that CloudFormation reads from SSM and Secrets Manager while it deploys: it does not notice when they
    /// change. Without the public keys, which the functions also get another way.
    pub resolved: String,
    /// Of each function's binary.
    pub functions: BTreeMap<String, String>,
    /// Functions whose code was replaced since `sam deploy`: CloudFormation does not know what runs there.
    pub patched: Vec<String>,
}

impl StackFingerprint {
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
    use super::StackFingerprint;

    fn fingerprint(functions: &[(&str, &str)]) -> StackFingerprint {
        let functions = functions.iter().map(|(name, print)| ((*name).to_owned(), (*print).to_owned())).collect();
        StackFingerprint {
            template: "t".to_owned(),
            resolved: "r".to_owned(),
            functions,
            patched: vec!["health".to_owned()],
        }
    }

    #[test]
    fn only_functions_with_other_code_are_replaced() {
        let old = fingerprint(&[("a", "1"), ("b", "1")]);
        let new = fingerprint(&[("a", "1"), ("b", "2")]);
        assert!(old.is_same_stack(&new));
        assert_eq!(old.changed(&new), ["b"]);
    }

    #[test]
    fn a_new_function_is_a_new_stack() {
        assert!(!fingerprint(&[("a", "1")]).is_same_stack(&fingerprint(&[("a", "1"), ("b", "1")])));
    }

    #[test]
    fn a_written_fingerprint_is_read_back() {
        let fingerprint = fingerprint(&[("a", "1")]);
        assert!(StackFingerprint::of_text(&fingerprint.to_text()) == Some(fingerprint));
        assert!(StackFingerprint::of_text("{}").is_none());
    }
}
