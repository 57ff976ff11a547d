//! Orders: what they consist of, what they come to, and how they go on.
//!
//! ```text
//! pending ──▶ confirmed ──▶ shipped ──▶ delivered
//!    └────────────┴──▶ cancelled: the stock returns, once
//! ```

mod event;

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use utoipa::ToSchema;
use uuid::Uuid;

pub use self::event::{
    CancelledBy, OrderCancelled, OrderEvent, OrderPlaced, OrderReturned, OrderStatusChanged, OrderedLine, ReturnedLine,
};
use crate::{
    error::{ApiError, Problem},
    money::Money,
};

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

// `$text` is a `tt`: the OpenAPI document would not see a `literal` that is handed on, and name the variant.
macro_rules! status {
    ($($(#[doc = $doc:literal])+ $name:ident $field:ident $text:tt sold: $sold:literal, next: [$($next:ident),*];)+) => {
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
    /// Why it was cancelled, where a reason was given.
    pub cancel_reason: Option<String>,
    pub created_at: OffsetDateTime,
    pub updated_at: OffsetDateTime,
}

/// One product of an order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Item {
    pub product_id: Uuid,
    /// As they were when the order was placed.
    pub sku: String,
    pub name: String,
    pub quantity: u32,
    /// Units that came back after delivery.
    pub returned: u32,
    /// As it was when the order was placed.
    pub unit_price: Money,
}

impl Item {
    /// Units that did not come back.
    const fn left(&self) -> u32 {
        self.quantity - self.returned
    }
}

impl Order {
    /// Takes units back after delivery: those of the lines, or all that are left. The units that then return to the stock.
    ///
    /// # Errors
    /// See [`ReturnError`]; the order is as it was.
    pub fn take_back(&mut self, lines: Option<&[(Uuid, u32)]>) -> Result<Vec<(Uuid, u32)>, ReturnError> {
        if self.status != Status::Delivered {
            return Err(ReturnError::NotDelivered(self.status));
        }
        let units = lines.map_or_else(|| self.units_left(), <[_]>::to_vec);
        if units.is_empty() {
            return Err(ReturnError::NothingLeft);
        }
        let mut items = self.items.clone();
        for (product_id, quantity) in &units {
            let item = items.iter_mut().find(|item| item.product_id == *product_id);
            let item = item.filter(|item| item.left() >= *quantity).ok_or(ReturnError::TooMany(*product_id))?;
            item.returned += quantity;
        }
        self.items = items;
        Ok(units)
    }

    /// Product and units of all that did not come back.
    #[must_use]
    pub fn units_left(&self) -> Vec<(Uuid, u32)> {
        self.items.iter().map(|item| (item.product_id, item.left())).filter(|(_, units)| *units > 0).collect()
    }

    /// What these units cost, in the order's currency.
    #[must_use]
    pub fn price_of(&self, units: &[(Uuid, u32)]) -> Money {
        let amount = |(id, quantity): &(Uuid, u32)| {
            let item = self.items.iter().find(|item| item.product_id == *id);
            item.map_or(0, |item| item.unit_price.amount * u64::from(*quantity))
        };
        Money { amount: units.iter().map(amount).sum(), currency: self.total.currency }
    }
}

/// Why units cannot be taken back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReturnError {
    #[error("it is {}", .0.as_str())]
    NotDelivered(Status),
    #[error("everything of it came back already")]
    NothingLeft,
    #[error("fewer units of product {0} are left")]
    TooMany(Uuid),
}

impl From<ReturnError> for ApiError {
    fn from(error: ReturnError) -> Self {
        match error {
            ReturnError::NotDelivered(status) => Self::new(
                Problem::InvalidTransition,
                format!("It is {}, and only delivered orders come back", status.as_str()),
            ),
            ReturnError::NothingLeft => Self::new(Problem::InvalidTransition, "Everything of it came back already"),
            ReturnError::TooMany(id) => Self::field("lines", format!("fewer units of product {id} are left")),
        }
    }
}

/// An order to be placed.
#[derive(Clone, Debug)]
pub struct NewOrder {
    pub id: Uuid,
    pub user_id: Uuid,
    /// Product and quantity; no product twice.
    pub lines: Vec<(Uuid, u32)>,
    /// The most that it may come to, if the buyer says.
    pub expected_total: Option<Money>,
    pub now: OffsetDateTime,
}

/// A product as it is offered: what decides over an order, and what an order keeps of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Offer {
    pub product_id: Uuid,
    pub sku: String,
    pub name: String,
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
    /// It comes to this.
    #[error("the total is {0}")]
    PriceChanged(Money),
}

impl From<OrderError> for ApiError {
    fn from(error: OrderError) -> Self {
        match error {
            OrderError::NoSuchProduct(id) => Self::field("lines", format!("there is no product {id}")),
            OrderError::OutOfStock(id) => {
                Self::new(Problem::OutOfStock, format!("There is not enough of product {id}"))
            }
            OrderError::MixedCurrencies => Self::field("lines", "takes products priced in one currency"),
            OrderError::TotalTooLarge => Self::field("lines", "comes to more than an order can be worth"),
            OrderError::PriceChanged(total) => Self::new(Problem::PriceChanged, format!("It comes to {total} now")),
        }
    }
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
            let Offer { sku, name, price, stock, .. } = offer.ok_or(OrderError::NoSuchProduct(product_id))?;
            if *stock < quantity {
                return Err(OrderError::OutOfStock(product_id));
            }
            let amount = price.times(quantity).ok_or(OrderError::TotalTooLarge)?;
            total = Some(match total {
                None => amount,
                Some(total) if total.currency != amount.currency => return Err(OrderError::MixedCurrencies),
                Some(total) => total.plus(amount).ok_or(OrderError::TotalTooLarge)?,
            });
            let (sku, name) = (sku.clone(), name.clone());
            items.push(Item { product_id, sku, name, quantity, returned: 0, unit_price: *price });
        }
        let total = total.ok_or(OrderError::TotalTooLarge)?;
        if self.expected_total.is_some_and(|most| total.currency != most.currency || total.amount > most.amount) {
            return Err(OrderError::PriceChanged(total));
        }
        let Self { id, user_id, now, .. } = *self;
        let (status, cancel_reason) = (Status::Pending, None);
        Ok(Order { id, user_id, status, items, total, cancel_reason, created_at: now, updated_at: now })
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
        NewOrder {
            id: Uuid::from_u128(1),
            user_id: Uuid::from_u128(2),
            lines,
            expected_total: None,
            now: OffsetDateTime::UNIX_EPOCH,
        }
    }

    fn offer(id: u128, amount: u64, currency: Currency, stock: u32) -> Offer {
        Offer {
            product_id: Uuid::from_u128(id),
            sku: format!("SKU-{id}"),
            name: format!("Product {id}"),
            price: Money { amount, currency },
            stock,
        }
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

    #[test]
    fn an_order_that_has_become_dearer_than_expected_is_refused_and_a_cheaper_one_is_not() {
        let offers = [offer(7, 250, Currency::EUR, 10)];
        let price = |amount, currency| {
            NewOrder { expected_total: Some(Money { amount, currency }), ..new_order(&[(7, 2)]) }.price(&offers)
        };
        assert!(price(500, Currency::EUR).is_ok());
        assert!(price(501, Currency::EUR).is_ok());
        for (amount, currency) in [(499, Currency::EUR), (500, Currency::JPY)] {
            let total = Money { amount: 500, currency: Currency::EUR };
            assert_eq!(price(amount, currency).unwrap_err(), OrderError::PriceChanged(total));
        }
    }

    #[test]
    fn units_come_back_once_by_line_or_all_that_are_left() {
        let offers = [offer(7, 250, Currency::EUR, 10), offer(8, 100, Currency::EUR, 10)];
        let mut order = new_order(&[(7, 3), (8, 1)]).price(&offers).unwrap();
        let (seven, eight) = (Uuid::from_u128(7), Uuid::from_u128(8));
        assert_eq!(order.take_back(None), Err(ReturnError::NotDelivered(Pending)));
        order.status = Delivered;
        for lines in [[(seven, 4)], [(Uuid::from_u128(9), 1)]] {
            assert_eq!(order.take_back(Some(&lines)), Err(ReturnError::TooMany(lines[0].0)));
        }
        assert_eq!(order.take_back(Some(&[(seven, 2), (seven, 2)])), Err(ReturnError::TooMany(seven)));
        assert_eq!(order.take_back(Some(&[(seven, 1)])), Ok(vec![(seven, 1)]));
        assert_eq!(order.units_left(), [(seven, 2), (eight, 1)]);
        let rest = order.take_back(None).unwrap();
        assert_eq!(rest, [(seven, 2), (eight, 1)]);
        assert_eq!(order.price_of(&rest), Money { amount: 600, currency: Currency::EUR });
        assert_eq!(order.units_left(), []);
        assert_eq!(order.take_back(None), Err(ReturnError::NothingLeft));
        assert_eq!(order.take_back(Some(&[(eight, 1)])), Err(ReturnError::TooMany(eight)));
    }
}
