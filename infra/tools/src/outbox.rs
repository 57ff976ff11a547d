//! `tools outbox`: messages that were committed and not sent yet.

use anyhow::{Result, bail, ensure};
use lexopt::{Arg, Parser, ValueExt};
use shared::{
    contract::{Opener, Resource},
    store::{Mongodb, Mysql, outbox::Outbox},
};
use uuid::Uuid;

/// As many of either store are listed.
const LISTED: u32 = 1000;

pub async fn run(arguments: &mut Parser) -> Result<()> {
    let opener = Opener::system();
    let (mysql, mongodb) = (Mysql::open(&opener)?, Mongodb::open(&opener)?);
    match arguments.next()? {
        Some(Arg::Value(word)) if word == "list" => list(&opener, &mysql, &mongodb).await,
        Some(Arg::Value(word)) if word == "replay" => {
            let id: Option<Uuid> = match arguments.next()? {
                None => None,
                Some(Arg::Long("id")) => Some(arguments.value()?.parse()?),
                Some(other) => bail!(other.unexpected()),
            };
            replay(&opener, &mysql, &mongodb, id).await
        }
        _ => bail!("it is `outbox list` or `outbox replay [--id ID]`"),
    }
}

async fn list(opener: &Opener, mysql: &Mysql, mongodb: &Mongodb) -> Result<()> {
    let now = opener.ambient.now();
    let (orders, users) = tokio::try_join!(mysql.waiting(LISTED), mongodb.waiting(LISTED))?;
    let waiting =
        orders.iter().map(|message| ("mysql", message)).chain(users.iter().map(|message| ("mongodb", message)));
    let mut count = 0;
    for (store, message) in waiting {
        count += 1;
        println!(
            "{}  {store:<8} {:<13} {} s old, {} attempts, due in {} s  {}",
            message.id,
            message.queue,
            (now - message.created_at).whole_seconds(),
            message.attempts,
            (message.available_at - now).whole_seconds().max(0),
            message.last_error.as_deref().unwrap_or_default(),
        );
    }
    println!("{count} waiting");
    Ok(())
}

async fn replay(opener: &Opener, mysql: &Mysql, mongodb: &Mongodb, id: Option<Uuid>) -> Result<()> {
    let now = opener.ambient.now();
    let (orders, users) = tokio::try_join!(mysql.replay(id, now), mongodb.replay(id, now))?;
    ensure!(id.is_none() || orders + users > 0, "no outbox holds a message with this id");
    println!("{} are due: the relay sends them within a minute", orders + users);
    Ok(())
}
