//! `tools seed`: sample data. Deterministic and idempotent: a second run adds only what is missing.

mod orders;
mod products;
mod users;

use anyhow::{Result, bail, ensure};
use lexopt::{Arg, Parser};
use shared::{
    contract::{Resource, ResourceContext},
    store::{Mongodb, Mysql},
};
use time::OffsetDateTime;
use uuid::Uuid;

/// Rows of one INSERT. A statement takes at most 65,535 values.
const ROWS_PER_INSERT: u32 = 2000;

/// The amounts of sample data.
struct Amounts {
    products: u32,
    orders: u32,
    users: u32,
}

pub async fn run(arguments: &mut Parser) -> Result<()> {
    let mut amounts = Amounts { products: 200, orders: 0, users: 0 };
    while let Some(argument) = arguments.next()? {
        match argument {
            Arg::Long("products") => amounts.products = crate::number(arguments)?,
            Arg::Long("orders") => amounts.orders = crate::number(arguments)?,
            Arg::Long("users") => amounts.users = crate::number(arguments)?,
            other => bail!(other.unexpected()),
        }
    }
    ensure!(amounts.products > 0 || amounts.orders == 0, "orders need products to be of");
    seed(&amounts).await
}

async fn seed(amounts: &Amounts) -> Result<()> {
    let context = ResourceContext::system();
    let (mysql, mongodb) = (Mysql::open(&context)?, Mongodb::open(&context)?);

    products::add(&mysql, amounts.products).await?;
    println!("{} products", amounts.products);
    let people = users::add(&mongodb, &context.ambient, amounts.users).await?;
    if amounts.orders > 0 {
        orders::add(&mysql, amounts.orders, amounts.products, &people).await?;
        println!("{} orders", amounts.orders);
    }
    Ok(())
}

/// The numbers below `count`, in batches.
fn batches(count: u32, size: u32) -> impl Iterator<Item = std::ops::Range<u32>> {
    (0..count).step_by(size as usize).map(move |first| first..count.min(first.saturating_add(size)))
}

/// One of these words: the next one for every `step` numbers.
fn word(words: &[&'static str], number: u32, step: u32) -> &'static str {
    words[(number / step) as usize % words.len()]
}

/// A UUID version 7 of this creation time, otherwise derived from kind and number.
fn id(kind: u8, created_at: OffsetDateTime, number: u32) -> Uuid {
    let mut tail = [0; 10];
    tail[5] = kind;
    tail[6..].copy_from_slice(&number.to_be_bytes());
    let milliseconds = created_at.unix_timestamp().unsigned_abs() * 1000;
    uuid::Builder::from_unix_timestamp_millis(milliseconds, &tail).into_uuid()
}
