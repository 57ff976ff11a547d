//! The sample catalogue.

use anyhow::Result;
use shared::{
    money::{Currency, Money},
    store::{
        Mysql,
        mysql::products::{self, Product},
    },
};
use time::{Duration, OffsetDateTime, macros::datetime};
use uuid::Uuid;

use super::{ROWS_PER_INSERT, batches, word};

/// The time of the first sample product. Another follows every second.
const EPOCH: OffsetDateTime = datetime!(2026-01-01 00:00 UTC);

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

/// Adds the missing ones of the first `count` products.
pub async fn add(mysql: &Mysql, count: u32) -> Result<()> {
    for numbers in batches(count, ROWS_PER_INSERT) {
        let rows: Vec<Product> = numbers.map(product).collect();
        products::insert_missing(mysql, &rows).await?;
    }
    Ok(())
}

/// The product with this number.
fn product(number: u32) -> Product {
    let [material, style, thing] = words(number);
    let created_at = created_at(number);
    Product {
        id: id(number),
        sku: sku(number),
        name: name(number),
        description: format!(
            "A {} {}, {} by hand.",
            material.to_lowercase(),
            thing.to_lowercase(),
            style.to_lowercase()
        ),
        price: price(number),
        stock: 10 + number % 190 * 31 % 190,
        version: 1,
        created_at,
        updated_at: created_at,
    }
}

fn words(number: u32) -> [&'static str; 3] {
    [word(&MATERIALS, number, 1), word(&STYLES, number, 12), word(&THINGS, number, 7)]
}

pub(super) fn sku(number: u32) -> String {
    format!("SOUK-{number:07}")
}

pub(super) fn name(number: u32) -> String {
    let [material, style, thing] = words(number);
    format!("{style} {material} {thing}")
}

pub(super) fn id(number: u32) -> Uuid {
    super::id(0, created_at(number), number)
}

/// 5.00 to 204.99; neighbours have different prices.
pub(super) fn price(number: u32) -> Money {
    Money { amount: 500 + u64::from(number) * 7919 % 20_000, currency: Currency::EUR }
}

fn created_at(number: u32) -> OffsetDateTime {
    EPOCH + Duration::seconds(number.into())
}
