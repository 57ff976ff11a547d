//! Waiting for a mail to arrive in the stage's SES inbox.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::aws::Aws;
use crate::process::wait_until;
use crate::progress::say;

/// Longer than the interval of the relay, which sends the messages that the fast path missed.
const DELIVERY_TIMEOUT: Duration = Duration::from_secs(150);

pub struct Mail {
    pub subject: String,
    pub body: String,
}

/// The mail to `address` with `phrase` in its subject or text; there must be exactly one.
pub fn wait_for(aws: &Aws, address: &str, phrase: &str) -> Result<Mail> {
    let mut found = Vec::new();
    wait_until(DELIVERY_TIMEOUT, || {
        found = matching(aws, address, phrase).unwrap_or_default();
        !found.is_empty()
    });
    let mail = found.pop().with_context(|| {
        format!("expected a mail to {address} with “{phrase}”, saw none within {} s", DELIVERY_TIMEOUT.as_secs())
    })?;
    ensure!(found.is_empty(), "expected one mail to {address} with “{phrase}”, saw {}", found.len() + 1);
    say!("  ✉ to {address}: {}", mail.subject);
    Ok(mail)
}

fn matching(aws: &Aws, address: &str, phrase: &str) -> Result<Vec<Mail>> {
    let text = |mail: &Value, key: &str| mail[key].as_str().unwrap_or_default().to_owned();
    let mails = aws.inbox(address)?.into_iter();
    let mails = mails.map(|mail| Mail { subject: text(&mail, "Subject"), body: text(&mail, "BodyText") });
    Ok(mails.filter(|mail| mail.subject.contains(phrase) || mail.body.contains(phrase)).collect())
}
