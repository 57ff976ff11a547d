//! SSM parameters and Secrets Manager secrets, which the stores stack hands to the app stack.

use anyhow::Result;
use serde_json::{Value, json};

use super::{Aws, optional};

impl Aws {
    pub fn parameter(&self, name: &str) -> Result<Option<String>> {
        let reply = optional(self.json("ssm", "AmazonSSM.GetParameter", &json!({"Name": name})))?;
        Ok(reply.and_then(|reply| reply["Parameter"]["Value"].as_str().map(str::to_owned)))
    }

    /// Writes a parameter unless it has this value already.
    pub fn put_parameter(&self, name: &str, value: &str) -> Result<()> {
        if self.parameter(name)?.as_deref() == Some(value) {
            return Ok(());
        }
        let body = json!({"Name": name, "Value": value, "Type": "String", "Overwrite": true});
        self.json("ssm", "AmazonSSM.PutParameter", &body).map(drop)
    }

    /// Writes a secret unless it has this value already.
    pub fn put_secret(&self, name: &str, value: &Value) -> Result<()> {
        let text = value.to_string();
        let call =
            |operation: &str, body: &Value| self.json("secretsmanager", &format!("secretsmanager.{operation}"), body);
        match optional(call("GetSecretValue", &json!({"SecretId": name})))? {
            None => call("CreateSecret", &json!({"Name": name, "SecretString": text})).map(drop),
            Some(secret) if secret["SecretString"].as_str() == Some(&text) => Ok(()),
            Some(_) => call("PutSecretValue", &json!({"SecretId": name, "SecretString": text})).map(drop),
        }
    }
}
