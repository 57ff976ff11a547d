//! The sales report: the sales of a period.
//!
//! Orders come in chunks of any size, in any order. Memory grows with the number of days and products, not of orders. A
//! chunk is summed on all cores, with the same result as on one.

use crate::{for_each_order_status, messaging::QueueContract};
use std::collections::{BTreeMap, HashMap};

use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use time::Date;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::{
    money::{Currency, Money},
    order::Status,
};

/// How many products a report lists per currency.
const TOP_PRODUCTS: usize = 20;
/// Rows per parallel task.
const ROWS_PER_TASK: usize = 1024;

time::serde::format_description!(day, Date, "[year]-[month]-[day]");

/// Reports to compute; consumed by `on-report`.
pub struct ReportQueue;

impl QueueContract for ReportQueue {
    const NAME: &'static str = "report";
    const URL: &'static str = "SOUK_REPORT_QUEUE_URL";
    const DEAD_LETTER_URL: &'static str = "SOUK_REPORT_DEAD_LETTER_QUEUE_URL";
    type Command = ReportRequested;
    type Message = ReportRequested;
}

/// A requested report: the message of its queue. The report's row has the period.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ReportRequested {
    pub report_id: Uuid,
}

/// An order, reduced to what a report needs.
#[derive(Clone, Copy, Debug)]
pub struct Sale {
    pub status: Status,
    pub total: Money,
    /// The day it was placed, in UTC.
    pub day: Date,
}

/// An item of an order that was not cancelled.
#[derive(Clone, Copy, Debug)]
pub struct SoldItem {
    pub product_id: Uuid,
    pub quantity: u32,
    pub unit_price: Money,
}

/// A part of the orders, with their items.
#[derive(Clone, Debug, Default)]
pub struct Chunk {
    pub sales: Vec<Sale>,
    pub items: Vec<SoldItem>,
}

/// A sales report. Amounts and units exclude cancelled orders.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct SalesReport {
    /// The number of orders, cancelled ones included.
    pub orders: u64,
    pub statuses: StatusCounts,
    /// One entry for each currency with sales, sorted by its code.
    pub currencies: Vec<CurrencySales>,
}

macro_rules! status_counts {
    ($($(#[doc = $doc:literal])+ $name:ident $field:ident $text:literal sold: $sold:literal, next: [$($next:ident),*];)+) => {
        /// The number of orders by status.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
        pub struct StatusCounts {
            $(#[serde(rename = $text)] pub $field: u64,)+
        }

        impl StatusCounts {
            fn of(&mut self, status: Status) -> &mut u64 {
                match status { $(Status::$name => &mut self.$field,)+ }
            }

            fn get(mut self, status: Status) -> u64 {
                *self.of(status)
            }
        }
    };
}
for_each_order_status!(status_counts);

/// The sales in one currency. Amounts are in its minor unit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct CurrencySales {
    pub currency: Currency,
    pub orders: u64,
    pub total: u64,
    /// The total divided by the number of orders, rounded down.
    pub average_basket: u64,
    /// Days with sales, the earliest first.
    pub days: Vec<DaySales>,
    /// The 20 products with the highest totals; ties are ordered by id.
    pub top_products: Vec<ProductSales>,
}

/// The sales of one day, in UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct DaySales {
    #[serde(with = "day")]
    #[schema(value_type = String, format = Date)]
    pub day: Date,
    pub orders: u64,
    pub total: u64,
}

/// The sales of one product.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ProductSales {
    pub product_id: Uuid,
    pub units: u64,
    pub total: u64,
}

/// A sum exceeds what a report can hold. Permanent: a retry cannot help.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a sum is more than a report can say")]
pub struct TooMuch;

/// Partial sums. Merging is commutative and associative, so the result does not depend on the chunks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sums {
    statuses: StatusCounts,
    currencies: BTreeMap<Currency, CurrencySums>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct CurrencySums {
    orders: Sum,
    days: BTreeMap<Date, Sum>,
    products: HashMap<Uuid, Sum>,
}

/// A number of orders or units, and an amount of money.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Sum {
    count: u64,
    amount: u128,
}

impl Sum {
    fn add(&mut self, other: Self) -> Result<(), TooMuch> {
        self.count = self.count.checked_add(other.count).ok_or(TooMuch)?;
        self.amount = self.amount.checked_add(other.amount).ok_or(TooMuch)?;
        Ok(())
    }

    fn amount(self) -> Result<u64, TooMuch> {
        u64::try_from(self.amount).map_err(|_| TooMuch)
    }
}

impl Sums {
    /// Adds a chunk, on the current rayon pool. Blocks the calling thread.
    ///
    /// # Errors
    /// [`TooMuch`] when a sum overflows.
    pub fn plus(self, chunk: &Chunk) -> Result<Self, TooMuch> {
        let sales = || chunk.sales.par_chunks(ROWS_PER_TASK).map(Self::of_sales).try_reduce(Self::default, Self::merge);
        let items = || chunk.items.par_chunks(ROWS_PER_TASK).map(Self::of_items).try_reduce(Self::default, Self::merge);
        let (sales, items) = rayon::join(sales, items);
        self.merge(sales?)?.merge(items?)
    }

    fn of_sales(sales: &[Sale]) -> Result<Self, TooMuch> {
        let mut sums = Self::default();
        for sale in sales {
            *sums.statuses.of(sale.status) += 1;
            if !sale.status.is_sold() {
                continue;
            }
            let sum = Sum { count: 1, amount: sale.total.amount.into() };
            let currency = sums.currencies.entry(sale.total.currency).or_default();
            currency.orders.add(sum)?;
            currency.days.entry(sale.day).or_default().add(sum)?;
        }
        Ok(sums)
    }

    fn of_items(items: &[SoldItem]) -> Result<Self, TooMuch> {
        let mut sums = Self::default();
        for item in items {
            let amount = u128::from(item.unit_price.amount) * u128::from(item.quantity);
            let currency = sums.currencies.entry(item.unit_price.currency).or_default();
            let product = currency.products.entry(item.product_id).or_default();
            product.add(Sum { count: item.quantity.into(), amount })?;
        }
        Ok(sums)
    }

    fn merge(mut self, other: Self) -> Result<Self, TooMuch> {
        for status in Status::ALL {
            let count = self.statuses.of(*status);
            *count = count.checked_add(other.statuses.get(*status)).ok_or(TooMuch)?;
        }
        for (currency, sums) in other.currencies {
            let mine = self.currencies.entry(currency).or_default();
            mine.orders.add(sums.orders)?;
            for (day, sum) in sums.days {
                mine.days.entry(day).or_default().add(sum)?;
            }
            for (product, sum) in sums.products {
                mine.products.entry(product).or_default().add(sum)?;
            }
        }
        Ok(self)
    }

    /// The report of these sums.
    ///
    /// # Errors
    /// [`TooMuch`] when an amount is more than 2⁶⁴ − 1 of the minor unit.
    pub fn report(self) -> Result<SalesReport, TooMuch> {
        let counts = Status::ALL.iter().map(|status| self.statuses.get(*status));
        let orders = counts.into_iter().try_fold(0_u64, u64::checked_add).ok_or(TooMuch)?;
        let currencies = self.currencies.into_iter().map(|(currency, sums)| sums.report(currency));
        Ok(SalesReport { orders, statuses: self.statuses, currencies: currencies.collect::<Result<_, _>>()? })
    }
}

impl CurrencySums {
    fn report(self, currency: Currency) -> Result<CurrencySales, TooMuch> {
        let total = self.orders.amount()?;
        let day = |(day, sum): (Date, Sum)| Ok(DaySales { day, orders: sum.count, total: sum.amount()? });
        let mut products: Vec<(Uuid, Sum)> = self.products.into_iter().collect();
        products.sort_unstable_by_key(|(id, sum)| (std::cmp::Reverse(sum.amount), *id));
        products.truncate(TOP_PRODUCTS);
        let product =
            |(product_id, sum): (Uuid, Sum)| Ok(ProductSales { product_id, units: sum.count, total: sum.amount()? });
        Ok(CurrencySales {
            currency,
            orders: self.orders.count,
            total,
            average_basket: total.checked_div(self.orders.count).unwrap_or(0),
            days: self.days.into_iter().map(day).collect::<Result<_, _>>()?,
            top_products: products.into_iter().map(product).collect::<Result<_, _>>()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use time::{Duration, macros::date};

    use super::*;
    use crate::ambient::Ambient;

    fn euros(amount: u64) -> Money {
        Money { amount, currency: Currency::EUR }
    }

    fn product(number: u128) -> Uuid {
        Uuid::from_u128(number)
    }

    fn sums_of(chunks: &[Chunk]) -> Sums {
        chunks.iter().try_fold(Sums::default(), Sums::plus).unwrap()
    }

    #[test]
    fn a_report_of_a_few_orders_says_what_one_can_add_up_by_hand() {
        let (monday, tuesday) = (date!(2026 - 02 - 02), date!(2026 - 02 - 03));
        let yen = Money { amount: 700, currency: Currency::JPY };
        let chunk = Chunk {
            sales: vec![
                Sale { status: Status::Delivered, total: euros(1000), day: tuesday },
                Sale { status: Status::Pending, total: euros(501), day: monday },
                Sale { status: Status::Cancelled, total: euros(9999), day: monday },
                Sale { status: Status::Shipped, total: yen, day: monday },
            ],
            items: vec![
                SoldItem { product_id: product(1), quantity: 2, unit_price: euros(250) },
                SoldItem { product_id: product(2), quantity: 1, unit_price: euros(500) },
                SoldItem { product_id: product(3), quantity: 1, unit_price: euros(501) },
                SoldItem { product_id: product(1), quantity: 7, unit_price: Money { amount: 100, ..yen } },
            ],
        };
        let report = sums_of(&[chunk]).report().unwrap();
        assert_eq!((report.orders, report.statuses.cancelled, report.statuses.delivered), (4, 1, 1));
        let [euro, yen] = &report.currencies[..] else { panic!("{report:?}") };
        assert_eq!((euro.currency, euro.orders, euro.total, euro.average_basket), (Currency::EUR, 2, 1501, 750));
        assert_eq!((yen.currency, yen.orders, yen.total, yen.average_basket), (Currency::JPY, 1, 700, 700));
        let days = [DaySales { day: monday, orders: 1, total: 501 }, DaySales { day: tuesday, orders: 1, total: 1000 }];
        assert_eq!(euro.days, days);
        let products: Vec<_> =
            euro.top_products.iter().map(|found| (found.product_id, found.units, found.total)).collect();
        assert_eq!(products, [(product(3), 1, 501), (product(1), 2, 500), (product(2), 1, 500)]);
        let text = serde_json::to_string(&report).unwrap();
        assert!(text.contains(r#"{"day":"2026-02-02","orders":1,"total":501}"#), "{text}");
        assert_eq!(serde_json::from_str::<SalesReport>(&text).unwrap(), report);
    }

    #[test]
    fn a_report_of_nothing_is_empty() {
        let report = sums_of(&[Chunk::default()]).report().unwrap();
        assert_eq!((report.orders, report.currencies.len()), (0, 0));
    }

    /// Random orders of all kinds.
    fn draw(ambient: &Ambient, count: usize) -> Chunk {
        let currency = |draw: u64| Currency::ALL[usize::try_from(draw).unwrap() % Currency::ALL.len()];
        let sales = (0..count).map(|_| Sale {
            status: Status::ALL[usize::try_from(ambient.below(Status::ALL.len() as u64)).unwrap()],
            total: Money { amount: ambient.below(1 << 53), currency: currency(ambient.below(100)) },
            day: date!(2026 - 01 - 01) + Duration::days(i64::try_from(ambient.below(60)).unwrap()),
        });
        let items = (0..count * 2).map(|_| SoldItem {
            product_id: product(ambient.below(300).into()),
            quantity: 1 + u32::try_from(ambient.below(10_000)).unwrap(),
            unit_price: Money { amount: ambient.below(1 << 40), currency: currency(ambient.below(100)) },
        });
        Chunk { sales: sales.collect(), items: items.collect() }
    }

    /// The same orders, randomly cut into chunks.
    fn cut(ambient: &Ambient, whole: &Chunk) -> Vec<Chunk> {
        let mut pieces = vec![Chunk::default(); 1 + usize::try_from(ambient.below(40)).unwrap()];
        let bound = u64::try_from(pieces.len()).unwrap();
        let any = || usize::try_from(ambient.below(bound)).unwrap();
        for sale in &whole.sales {
            pieces[any()].sales.push(*sale);
        }
        for item in &whole.items {
            pieces[any()].items.push(*item);
        }
        pieces
    }

    #[test]
    fn however_the_orders_are_cut_and_on_however_many_threads_the_report_is_the_same() {
        let ambient = Ambient::system();
        for round in 0..12 {
            let whole = draw(&ambient, 5000);
            let expected = sums_of(std::slice::from_ref(&whole)).report().unwrap();
            for threads in [1, 2, 3, 8] {
                let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
                let found = pool.install(|| sums_of(&cut(&ambient, &whole))).report().unwrap();
                assert_eq!(found, expected, "round {round} on {threads} threads");
            }
            assert_eq!(expected.currencies.iter().flat_map(|found| &found.top_products).count(), 20 * 6);
        }
    }

    #[test]
    fn sums_that_are_too_much_are_told_and_never_wrap() {
        let day = date!(2026 - 02 - 02);
        let dear =
            Chunk { sales: vec![Sale { status: Status::Pending, total: euros(u64::MAX), day }; 2], items: Vec::new() };
        assert_eq!(sums_of(std::slice::from_ref(&dear)).report(), Err(TooMuch));
        let full = Sum { count: u64::MAX, amount: u128::MAX };
        assert_eq!({ full }.add(Sum { count: 1, amount: 0 }), Err(TooMuch));
        assert_eq!({ full }.add(Sum { count: 0, amount: 1 }), Err(TooMuch));
    }
}
