//! The part of `cargo xtask` that needs the code itself or AWS: keys, sample data, mails, queues, the outbox, the
//! routes, the OpenAPI document.
//!
//! A separate program, because it links everything that the functions link; `cargo xtask` has to exist before.

mod dlq;
mod keys;
mod lab;
mod mail;
mod openapi;
mod operate;
mod outbox;
mod ping;
mod routes;
mod seed;

use anyhow::{Result, bail};
use lexopt::{Arg, Parser, ValueExt};

const USAGE: &str = "\
Usage: tools COMMAND

  dlq list | show QUEUE | redrive QUEUE [--id ID] | drop QUEUE --id ID  [--env NAME]
                      messages that were given up
  keys new            prints a new signing key for access tokens, and its public half
  lab [--quick] [NAME ...]
                      runs the experiments of the lab, draws them in target/lab; quickly, with fewer samples
  mail [NAME]         lists the mails, or writes one to target/mail to be looked at
  openapi [--check]   writes openapi.json, or says whether it is what the contract says
  outbox list | replay [--id ID]  [--env NAME]
                      messages that were committed and not sent yet; sends them, or one, were it sent before
  ping                says which of the stores does not let us in
  routes              prints every route and who may call it
  seed [--products N] [--orders M] [--users K]
                      fills the stores with sample data
";

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let mut arguments = Parser::from_env();
    let Some(Arg::Value(command)) = arguments.next()? else { bail!("{USAGE}") };
    match command.to_str() {
        Some("dlq") => dlq::run(&mut arguments).await,
        Some("keys") => keys::run(&mut arguments),
        Some("lab") => lab::run(&mut arguments).await,
        Some("mail") => mail::run(&mut arguments),
        Some("openapi") => openapi::run(&mut arguments),
        Some("outbox") => outbox::run(&mut arguments).await,
        Some("ping") => ping::run().await,
        Some("routes") => {
            routes::print();
            Ok(())
        }
        Some("seed") => seed::run(&mut arguments).await,
        _ => bail!("{USAGE}"),
    }
}

/// The value of a `--name N` option.
fn number(arguments: &mut Parser) -> Result<u32> {
    Ok(arguments.value()?.parse()?)
}
