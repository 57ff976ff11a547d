//! Orders: what they consist of, what they come to, and how they go on.
//!
//! ```text
//! pending ──▶ confirmed ──▶ shipped ──▶ delivered
//!    └────────────┴──▶ cancelled: the stock returns, once
//! ```

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::money::Money;

/// Calls a macro with every status of an order: documentation, name, text, whether its units are sold, and what it may become.
///
/// Everything that lists the statuses is made here: parsing, SQL, the OpenAPI schema, transitions, restocking, the counts of
/// reports. A test compares the list with the CHECK constraint of the migrations.
#[macro_export]
macro_rules! for_each_order_status {
    ($macro:ident) => {
        $macro! {
            /// Taken; the stock is reserved.
            Pending pending "pending" sold: true, next: [Confirmed, Cancelled];
            /// Somebody works on it.
            Confirmed confirmed "confirmed" sold: true, next: [Shipped, Cancelled];
            /// On its way: it cannot be cancelled any more.
            Shipped shipped "shipped" sold: true, next: [Delivered];
            /// It arrived.
            Delivered delivered "delivered" sold: true, next: [];
            /// Taken back; the stock is free again.
            Cancelled cancelled "cancelled" sold: false, next: [];
        }
    };
}

macro_rules! status {
    ($($(#[doc = $doc:literal])+ $name:ident $field:ident $text:literal sold: $sold:literal, next: [$($next:ident),*];)+) => {
        /// Where an order stands.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
        #[schema(as = OrderStatus)]
        pub enum Status {
            $($(#[doc = $doc])+ #[serde(rename = $text)] $name,)+
        }

        impl Status {
            pub const ALL: &[Self] = &[$(Self::$name,)+];

            /// As the API and the database write it.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$name => $text,)+ }
            }

            /// Whether the units of an order that stands here are sold, and so not in stock.
            #[must_use]
            pub const fn is_sold(self) -> bool {
                match self { $(Self::$name => $sold,)+ }
            }

            /// What an order that stands here may become.
            #[must_use]
            pub const fn next(self) -> &'static [Self] {
                match self { $(Self::$name => &[$(Self::$next),*],)+ }
            }
        }
    };
}
for_each_order_status!(status);

impl Status {
    /// Whether an order that stands here may become `next`.
    #[must_use]
    pub fn may_become(self, next: Self) -> bool {
        self.next().contains(&next)
    }

    /// Whether the units return to the stock when an order that stands here becomes `next`.
    #[must_use]
    pub const fn restocks(self, next: Self) -> bool {
        self.is_sold() && !next.is_sold()
    }
}

impl std::str::FromStr for Status {
    type Err = UnknownStatus;

    fn from_str(text: &str) -> Result<Self, UnknownStatus> {
        Self::ALL.iter().copied().find(|status| status.as_str() == text).ok_or_else(|| UnknownStatus(text.to_owned()))
    }
}

/// The text is not the status of an order.
#[derive(Debug, thiserror::Error)]
#[error("not the status of an order: {0}")]
pub struct UnknownStatus(String);

/// An order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Order {
    pub id: Uuid,
    pub user_id: Uuid,
    pub status: Status,
    /// Sorted by product.
    pub items: Vec<Item>,
    pub total: Money,
    pub created_at: OffsetDateTime,
    pub updated_at: OffsetDateTime,
}

/// One product of an order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Item {
    pub product_id: Uuid,
    pub quantity: u32,
    /// As it was when the order was placed.
    pub unit_price: Money,
}

/// An order to be placed.
#[derive(Clone, Debug)]
pub struct NewOrder {
    pub id: Uuid,
    pub user_id: Uuid,
    /// Product and quantity; no product twice.
    pub lines: Vec<(Uuid, u32)>,
    pub now: OffsetDateTime,
}

/// A product, as far as its price and its stock decide over an order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Offer {
    pub product_id: Uuid,
    pub price: Money,
    /// Units that can be ordered.
    pub stock: u32,
}

/// Why an order cannot be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OrderError {
    #[error("there is no product {0}")]
    NoSuchProduct(Uuid),
    #[error("not enough of product {0}")]
    OutOfStock(Uuid),
    #[error("the products are priced in different currencies")]
    MixedCurrencies,
    #[error("the total is too large")]
    TotalTooLarge,
}

impl NewOrder {
    /// The order at the prices of the offers: pending, its items sorted by product.
    ///
    /// # Errors
    /// See [`OrderError`]; an order without lines is [`OrderError::TotalTooLarge`], since it has no currency to be worth nothing in.
    pub fn price(&self, offers: &[Offer]) -> Result<Order, OrderError> {
        let mut lines = self.lines.clone();
        lines.sort_unstable();
        let mut items = Vec::with_capacity(lines.len());
        let mut total: Option<Money> = None;
        for (product_id, quantity) in lines {
            let offer = offers.iter().find(|offer| offer.product_id == product_id);
            let Offer { price, stock, .. } = *offer.ok_or(OrderError::NoSuchProduct(product_id))?;
            if stock < quantity {
                return Err(OrderError::OutOfStock(product_id));
            }
            let amount = price.times(quantity).ok_or(OrderError::TotalTooLarge)?;
            total = Some(match total {
                None => amount,
                Some(total) if total.currency != amount.currency => return Err(OrderError::MixedCurrencies),
                Some(total) => total.plus(amount).ok_or(OrderError::TotalTooLarge)?,
            });
            items.push(Item { product_id, quantity, unit_price: price });
        }
        let total = total.ok_or(OrderError::TotalTooLarge)?;
        let Self { id, user_id, now, .. } = *self;
        Ok(Order { id, user_id, status: Status::Pending, items, total, created_at: now, updated_at: now })
    }
}

#[cfg(test)]
mod tests {
    use super::{
        Status::{Cancelled, Confirmed, Delivered, Pending, Shipped},
        *,
    };
    use crate::money::{Currency, MAX_AMOUNT};

    #[test]
    fn an_order_goes_forward_one_step_at_a_time_and_is_cancelled_before_it_ships() {
        let allowed = [
            (Pending, Confirmed),
            (Pending, Cancelled),
            (Confirmed, Shipped),
            (Confirmed, Cancelled),
            (Shipped, Delivered),
        ];
        for from in Status::ALL {
            for to in Status::ALL {
                assert_eq!(from.may_become(*to), allowed.contains(&(*from, *to)), "{from:?} to {to:?}");
            }
        }
    }

    #[test]
    fn stock_returns_with_a_cancellation_and_never_twice() {
        for from in Status::ALL {
            for to in from.next() {
                assert_eq!(from.restocks(*to), *to == Cancelled, "{from:?} to {to:?}");
            }
            assert!(!Cancelled.restocks(*from), "{from:?}");
        }
    }

    #[test]
    fn a_status_is_the_same_in_json_in_the_database_and_in_the_check_constraint() {
        for status in Status::ALL {
            assert_eq!(serde_json::to_value(status).unwrap(), status.as_str());
            assert_eq!(status.as_str().parse::<Status>().unwrap(), *status);
        }
        assert!("returned-by-fairies".parse::<Status>().is_err());
        let listed = Status::ALL.iter().map(|status| format!("'{}'", status.as_str())).collect::<Vec<_>>().join(", ");
        let directory = concat!(env!("CARGO_MANIFEST_DIR"), "/../migrations");
        let mut files: Vec<_> = std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).collect();
        files.sort();
        let mut constraints = files.iter().filter_map(|file| {
            let text = std::fs::read_to_string(file).unwrap();
            let (_, rest) = text.split_once("orders_status CHECK (status IN (")?;
            Some(rest.split(')').next().unwrap().to_owned())
        });
        assert_eq!(constraints.next_back().unwrap(), listed, "the newest migration that names orders_status");
    }

    fn new_order(lines: &[(u128, u32)]) -> NewOrder {
        let lines = lines.iter().map(|(id, quantity)| (Uuid::from_u128(*id), *quantity)).collect();
        NewOrder { id: Uuid::from_u128(1), user_id: Uuid::from_u128(2), lines, now: OffsetDateTime::UNIX_EPOCH }
    }

    fn offer(id: u128, amount: u64, currency: Currency, stock: u32) -> Offer {
        Offer { product_id: Uuid::from_u128(id), price: Money { amount, currency }, stock }
    }

    #[test]
    fn an_order_keeps_the_prices_of_the_catalogue_sorted_by_product() {
        let offers = [offer(7, 250, Currency::EUR, 10), offer(8, 1, Currency::EUR, 1), offer(9, 5, Currency::EUR, 3)];
        let order = new_order(&[(9, 3), (7, 2)]).price(&offers).unwrap();
        assert_eq!(order.total, Money { amount: 515, currency: Currency::EUR });
        let items: Vec<_> = order.items.iter().map(|item| (item.product_id.as_u128(), item.quantity)).collect();
        assert_eq!((order.status, items), (Pending, vec![(7, 2), (9, 3)]));
    }

    #[test]
    fn what_is_missing_sold_out_or_too_dear_makes_no_order() {
        let offers = [
            offer(7, 250, Currency::EUR, 1),
            offer(8, 250, Currency::JPY, 1),
            offer(9, MAX_AMOUNT, Currency::EUR, u32::MAX),
        ];
        let error = |lines: &[(u128, u32)]| new_order(lines).price(&offers).unwrap_err();
        assert_eq!(error(&[(6, 1)]), OrderError::NoSuchProduct(Uuid::from_u128(6)));
        assert_eq!(error(&[(7, 2)]), OrderError::OutOfStock(Uuid::from_u128(7)));
        assert_eq!(error(&[(7, 1), (8, 1)]), OrderError::MixedCurrencies);
        assert_eq!(error(&[(9, 2)]), OrderError::TotalTooLarge);
        assert_eq!(error(&[(7, 1), (9, 1)]), OrderError::TotalTooLarge);
        assert_eq!(error(&[]), OrderError::TotalTooLarge);
    }
}
