//! `tools seed`: sample data. The same data every time, and running it again adds only what is missing.

use anyhow::{Result, bail};
use lexopt::{Arg, Parser};
use shared::{
    ambient::Ambient,
    auth::{Role, Roles, password},
    contract::{Opener, Resource},
    money::{Currency, Money},
    store::{
        Mongodb, Mysql,
        products::{self, Product},
        users::{self, NewUser},
    },
};
use time::{Duration, OffsetDateTime, macros::datetime};
use uuid::Uuid;

/// Printed for people to log in with; the stage is the only place that has these users.
const PASSWORD: &str = "correct-horse-battery-staple";
const USERS: [(&str, Role); 3] = [
    ("admin@souk.example", Role::Admin),
    ("staff@souk.example", Role::Staff),
    ("customer@souk.example", Role::Customer),
];
/// When the sample catalogue began.
const EPOCH: OffsetDateTime = datetime!(2026-01-01 00:00 UTC);
const ROWS_PER_INSERT: u32 = 1000;

const MATERIALS: [&str; 12] =
    ["Brass", "Cedar", "Clay", "Copper", "Cotton", "Glass", "Leather", "Linen", "Olive Wood", "Silk", "Silver", "Wool"];
const STYLES: [&str; 10] =
    ["Carved", "Dyed", "Embroidered", "Engraved", "Glazed", "Hammered", "Inlaid", "Painted", "Plain", "Woven"];
const THINGS: [&str; 15] = [
    "Basket",
    "Bowl",
    "Candle Holder",
    "Carpet",
    "Chess Set",
    "Coffee Pot",
    "Cushion",
    "Jar",
    "Lantern",
    "Mirror",
    "Scarf",
    "Slippers",
    "Tea Glass",
    "Tray",
    "Vase",
];

pub async fn run(arguments: &mut Parser) -> Result<()> {
    let mut count = 200;
    while let Some(argument) = arguments.next()? {
        match argument {
            Arg::Long("products") => count = crate::number(arguments)?,
            other => bail!(other.unexpected()),
        }
    }
    seed(count).await
}

async fn seed(count: u32) -> Result<()> {
    let opener = Opener::system();
    let (mysql, mongodb) = (Mysql::open(&opener)?, Mongodb::open(&opener)?);

    for first in (0..count).step_by(ROWS_PER_INSERT as usize) {
        let rows: Vec<Product> = (first..count.min(first + ROWS_PER_INSERT)).map(product).collect();
        products::insert_missing(&mysql, &rows).await?;
    }
    println!("{count} products");
    for (email, role) in USERS {
        add_user(&mongodb, &opener.ambient, email, role).await?;
        println!("{email:<24} {:<10} {PASSWORD}", role.as_str());
    }
    Ok(())
}

/// The product with this number.
fn product(number: u32) -> Product {
    let of = |words: &[&'static str], step: u32| words[(number / step) as usize % words.len()];
    let (material, style, thing) = (of(&MATERIALS, 1), of(&STYLES, 12), of(&THINGS, 7));
    let created_at = EPOCH + Duration::seconds(number.into());
    Product {
        id: id(created_at, number),
        sku: format!("SOUK-{number:07}"),
        name: format!("{style} {material} {thing}"),
        description: format!(
            "A {} {}, {} by hand.",
            material.to_lowercase(),
            thing.to_lowercase(),
            style.to_lowercase()
        ),
        // 5.00 to 204.99, and every price differs from its neighbours'.
        price: Money { amount: 500 + u64::from(number) * 7919 % 20_000, currency: Currency::EUR },
        stock: 10 + number * 31 % 190,
        version: 1,
        created_at,
        updated_at: created_at,
    }
}

/// A UUID version 7 that says when the product was made, and otherwise only its number.
fn id(created_at: OffsetDateTime, number: u32) -> Uuid {
    let mut tail = [0; 10];
    tail[6..].copy_from_slice(&number.to_be_bytes());
    let milliseconds = created_at.unix_timestamp().unsigned_abs() * 1000;
    uuid::Builder::from_unix_timestamp_millis(milliseconds, &tail).into_uuid()
}

async fn add_user(mongodb: &Mongodb, ambient: &Ambient, email: &str, role: Role) -> Result<()> {
    let email = email.parse()?;
    if !users::exists(mongodb, &email).await? {
        let hash = password::hash(&PASSWORD.into(), ambient).await.map_err(|error| anyhow::anyhow!("{error}"))?;
        let user = NewUser {
            id: ambient.id(),
            email,
            email_verified: true,
            password_hash: Some(hash),
            identity_key: None,
            roles: Roles(vec![role]),
            now: ambient.now(),
        };
        users::insert(mongodb, &user, None).await?;
    }
    Ok(())
}
