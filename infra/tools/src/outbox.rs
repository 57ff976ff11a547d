//! `tools outbox`: committed messages that are not sent yet, on the stage and in AWS.
//!
//! The relay executes the commands, since only functions reach the stores: in AWS those are in a private network.

use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use aws_sdk_lambda::{
    Client,
    config::{Builder, retry::RetryConfig, timeout::TimeoutConfig},
    primitives::Blob,
};
use lexopt::Parser;
use serde_json::Value;
use shared::{
    ambient::Ambient,
    aws::Aws,
    background::{OutboxCommand, OutboxRelay, RelayEvent, RelayOutput},
    contract::Function,
};

use crate::operate::Arguments;

/// Longer than the relay may take.
const TIMEOUT: Duration = Duration::from_mins(1);

pub async fn run(parser: &mut Parser) -> Result<()> {
    let arguments = Arguments::read(parser)?;
    match (arguments.words().as_slice(), arguments.id.as_deref()) {
        (["list"], None) => list(&arguments).await,
        (["replay"], id) => replay(&arguments, id).await,
        _ => bail!("it is `outbox list` or `outbox replay [--id ID]`"),
    }
}

async fn list(arguments: &Arguments) -> Result<()> {
    let RelayOutput::Waiting { waiting } = ask(arguments, OutboxCommand::List).await? else {
        bail!("the relay does not know what it was asked: it is older than this command");
    };
    let now = Ambient::system().now();
    for found in &waiting {
        let message = &found.message;
        println!(
            "{}  {:<8} {:<13} {} s old, {} attempts, due in {} s  {}",
            message.id,
            found.store,
            message.destination,
            (now - message.created_at).whole_seconds(),
            message.attempts,
            (message.available_at - now).whole_seconds().max(0),
            message.last_error.as_deref().unwrap_or_default(),
        );
    }
    println!("{} waiting", waiting.len());
    Ok(())
}

async fn replay(arguments: &Arguments, id: Option<&str>) -> Result<()> {
    let id = id.map(str::parse).transpose().context("an outbox id is a UUID")?;
    let RelayOutput::Relayed(relayed) = ask(arguments, OutboxCommand::Replay { id }).await? else {
        bail!("the relay does not know what it was asked: it is older than this command");
    };
    ensure!(id.is_none() || relayed.due > 0, "no outbox holds a message with this id");
    println!(
        "{} were made due; of all that was due {} were sent, {} failed",
        relayed.due, relayed.sent, relayed.failed
    );
    Ok(())
}

async fn ask(arguments: &Arguments, command: OutboxCommand) -> Result<RelayOutput> {
    let aws = Aws::default();
    let timeouts = TimeoutConfig::builder().operation_timeout(TIMEOUT).operation_attempt_timeout(TIMEOUT).build();
    let config = Builder::from(aws.config().await).timeout_config(timeouts).retry_config(RetryConfig::disabled());
    let function = arguments.full_name(OutboxRelay::NAME);
    let event = serde_json::to_vec(&RelayEvent { outbox: Some(command) })?;
    let invoke = Client::from_conf(config.build()).invoke().function_name(&function).payload(Blob::new(event));
    let reply = Box::pin(invoke.send()).await.with_context(|| function)?;
    let payload = reply.payload().map(Blob::as_ref).unwrap_or_default();
    if reply.function_error().is_some() {
        let error: Value = serde_json::from_slice(payload).unwrap_or_default();
        bail!("the relay failed: {}", error["errorMessage"].as_str().unwrap_or_default());
    }
    Ok(serde_json::from_slice(payload)?)
}
