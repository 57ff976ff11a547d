//! `cargo xtask dlq`: the messages that were given up.

use anyhow::{Result, bail};
use serde_json::Value;

use crate::aws::{Aws, Message};
use crate::cli::DeadLetters;
use crate::progress::say;
use crate::stage::{STAGE, Stage};

/// What the name of a dead-letter queue ends with.
const SUFFIX: &str = "-dlq";

pub fn dlq(stage: &Stage, command: &DeadLetters) -> Result<()> {
    let aws = Aws::of(stage);
    match command {
        DeadLetters::List => list(&aws),
        DeadLetters::Show { queue } => show(&aws, queue),
        DeadLetters::Redrive { queue, id } => redrive(&aws, queue, id.as_deref()),
        DeadLetters::Drop { queue, id } => drop_one(&aws, queue, id),
    }
}

fn list(aws: &Aws) -> Result<()> {
    for queue in names(aws)? {
        say!("{queue:<16} {}", aws.depth(&dead_letter_url(aws, &queue)?)?);
    }
    Ok(())
}

fn show(aws: &Aws, queue: &str) -> Result<()> {
    let (url, messages) = received(aws, queue)?;
    for message in &messages {
        say!("{}", message.id);
        for (name, value) in &message.attributes {
            say!("  {name:<13} {value}");
        }
        say!("  {:<13} {}", "body", message.body);
        aws.give_back(&url, message)?;
    }
    say!("{} messages", messages.len());
    Ok(())
}

/// Sends first and deletes then: what dies in between is sent twice, and the consumer drops the second one.
fn redrive(aws: &Aws, queue: &str, id: Option<&str>) -> Result<()> {
    let (url, messages) = received(aws, queue)?;
    let source = aws.queue_url(&full_name(queue))?;
    let mut redriven = 0;
    for message in &messages {
        if id.is_none_or(|id| is_called(message, id)) {
            aws.send_message(&source, &message.body)?;
            aws.delete_message(&url, message)?;
            redriven += 1;
        } else {
            aws.give_back(&url, message)?;
        }
    }
    if let (Some(id), 0) = (id, redriven) {
        bail!("no given up message of `{queue}` is called {id}");
    }
    say!("{redriven} messages are in `{queue}` again");
    Ok(())
}

fn drop_one(aws: &Aws, queue: &str, id: &str) -> Result<()> {
    let (url, messages) = received(aws, queue)?;
    let mut dropped = 0;
    for message in &messages {
        if is_called(message, id) {
            aws.delete_message(&url, message)?;
            dropped += 1;
        } else {
            aws.give_back(&url, message)?;
        }
    }
    if dropped == 0 {
        bail!("no given up message of `{queue}` is called {id}");
    }
    say!("{dropped} dropped");
    Ok(())
}

/// All that is in a queue's dead-letter queue, and its address.
fn received(aws: &Aws, queue: &str) -> Result<(String, Vec<Message>)> {
    let known = names(aws)?;
    if !known.iter().any(|name| name == queue) {
        bail!("there is no queue `{queue}`; there are: {}", known.join(", "));
    }
    let url = dead_letter_url(aws, queue)?;
    let messages = aws.receive_all(&url)?;
    Ok((url, messages))
}

/// The queues that have a dead-letter queue.
fn names(aws: &Aws) -> Result<Vec<String>> {
    let prefix = full_name("");
    let mut names: Vec<String> = aws
        .queues(&prefix)?
        .iter()
        .filter_map(|name| Some(name.strip_prefix(&prefix)?.strip_suffix(SUFFIX)?.to_owned()))
        .collect();
    names.sort();
    Ok(names)
}

fn dead_letter_url(aws: &Aws, queue: &str) -> Result<String> {
    aws.queue_url(&(full_name(queue) + SUFFIX))
}

fn full_name(queue: &str) -> String {
    format!("souk-{STAGE}-{queue}")
}

/// Whether this is SQS's id of the message, the one it had in its queue, or its outbox id.
fn is_called(message: &Message, id: &str) -> bool {
    let envelope: Value = serde_json::from_str(&message.body).unwrap_or_default();
    let named = |(name, value): &(String, String)| name == "messageId" && value == id;
    message.id == id || envelope["id"] == id || message.attributes.iter().any(named)
}
