//! Sample orders: of 1 to 4 products each, in every status, spread over the users.

use anyhow::{Context, Result};
use shared::{
    order::{
        Item,
        Status::{self, Cancelled, Confirmed, Delivered, Pending, Shipped},
    },
    store::{
        Mysql,
        mysql::sample_orders::{self, SampleOrder},
    },
};
use time::{Duration, OffsetDateTime, macros::datetime};
use uuid::Uuid;

use super::{ROWS_PER_INSERT, batches, products};

/// The time of the first sample order. Another follows every twelve seconds.
const EPOCH: OffsetDateTime = datetime!(2026-02-01 00:00 UTC);
/// What became of twenty orders, and how many steps that took. Most of them arrived.
const FATES: [(Status, u64); 20] = [
    (Pending, 0),
    (Confirmed, 1),
    (Confirmed, 1),
    (Shipped, 2),
    (Shipped, 2),
    (Cancelled, 1),
    (Cancelled, 2),
    (Delivered, 3),
    (Delivered, 3),
    (Delivered, 3),
    (Delivered, 3),
    (Delivered, 3),
    (Delivered, 3),
    (Delivered, 3),
    (Delivered, 3),
    (Delivered, 3),
    (Delivered, 3),
    (Delivered, 3),
    (Delivered, 3),
    (Delivered, 3),
];

/// Adds the missing ones of the first `count` orders.
pub async fn add(mysql: &Mysql, count: u32, products: u32, users: &[Uuid]) -> Result<()> {
    for numbers in batches(count, ROWS_PER_INSERT) {
        let rows = numbers.map(|number| order(number, products, users)).collect::<Result<Vec<_>>>()?;
        sample_orders::insert_missing(mysql, &rows).await?;
    }
    Ok(())
}

/// The order with this number.
fn order(number: u32, products: u32, users: &[Uuid]) -> Result<SampleOrder> {
    let created_at = EPOCH + Duration::seconds(i64::from(number) * 12);
    let (status, steps) = FATES[number as usize % FATES.len()];
    let mut items: Vec<Item> = Vec::new();
    for line in 0..=number / 3 % 4 {
        let product = (u64::from(number) * 104_729 + u64::from(line) * 7919) % u64::from(products);
        let product = u32::try_from(product)?;
        let (product_id, quantity) = (products::id(product), 1 + (number + line) % 3);
        if items.iter().all(|item| item.product_id != product_id) {
            let (sku, name, unit_price) = (products::sku(product), products::name(product), products::price(product));
            items.push(Item { product_id, sku, name, quantity, returned: 0, unit_price });
        }
    }
    let mut amounts = items.iter().map(|item| item.unit_price.times(item.quantity));
    let first = amounts.next().flatten();
    let total =
        amounts.fold(first, |total, amount| total?.plus(amount?)).context("an order of no or too much money")?;
    Ok(SampleOrder {
        id: super::id(2, created_at, number),
        user_id: users[number as usize * 31 % users.len()],
        status,
        items,
        total,
        version: 1 + steps,
        created_at,
        updated_at: created_at + Duration::hours(i64::try_from(steps)? * 20),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn some_order_has_each_status() {
        for status in Status::ALL {
            assert!(FATES.iter().any(|(fate, _)| fate == status), "{status:?}");
        }
    }
}
