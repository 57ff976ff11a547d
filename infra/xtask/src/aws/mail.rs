//! SES: the sender's identity, and the inbox in which the stage keeps sent mails.

use anyhow::Result;
use serde_json::{Value, json};
use ureq::http::Method;

use super::Aws;

impl Aws {
    /// SES sends only for verified identities. On the stage the request alone verifies one.
    pub fn verify_sender(&self, address: &str) -> Result<()> {
        let body = json!({"EmailIdentity": address});
        self.rest("ses", &Method::POST, "/v2/email/identities", Some(&body)).map(drop)
    }

    /// The mails to an address, oldest first.
    pub fn inbox(&self, address: &str) -> Result<Vec<Value>> {
        let reply = self.rest("ses", &Method::GET, "/_ministack/ses/messages", None)?;
        let accounts = reply["messages"].as_object().into_iter().flat_map(|accounts| accounts.values());
        let messages = accounts.filter_map(Value::as_array).flatten();
        let is_for = |message: &&Value| {
            message["To"]
                .as_array()
                .is_some_and(|to| to.iter().any(|to| to.as_str().is_some_and(|to| to.contains(address))))
        };
        Ok(messages.filter(is_for).cloned().collect())
    }
}
