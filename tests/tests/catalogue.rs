//! Lists of a catalogue of 100,000 products: the query plans, and that a late page costs as much as the first.
//!
//! A program of its own, since other tests would disturb it.

use std::time::{Duration, Instant};

use shared::{
    money::Currency,
    store::{
        Mysql,
        mysql::product_list::{self, Direction, Filter, Position, Search, Sort},
    },
};
use tests::Stage;
use tokio::sync::OnceCell;

const PRODUCTS: &str = "100000";
const LIMIT: u32 = 20;
/// The late page.
const LATE: u32 = 1000;
/// Pages per read on the way there.
const STEP: u32 = 111;
/// Samples of each page.
const SAMPLES: usize = 41;
/// The factor by which a late page may be slower than the first.
const TOLERANCE: f64 = 1.5;
/// Attempts: a busy machine may be slow once.
const ROUNDS: usize = 4;

const SORTS: [Sort; 5] = [
    Sort::Newest,
    Sort::Name(Direction::Ascending),
    Sort::Name(Direction::Descending),
    Sort::Price(Direction::Ascending),
    Sort::Price(Direction::Descending),
];

/// The store, with the sample catalogue in it.
async fn catalogue() -> Mysql {
    static SEEDED: OnceCell<()> = OnceCell::const_new();
    SEEDED
        .get_or_init(async || {
            let start = Instant::now();
            let _ = Stage::tools(&["seed", "--products", PRODUCTS]);
            let elapsed = start.elapsed();
            println!("{PRODUCTS} products in {elapsed:.1?}");
            assert!(elapsed < Duration::from_secs(20), "{PRODUCTS} products took {elapsed:?}");
        })
        .await;
    Stage::get().resource()
}

/// Every kind of filter without a search, each matched by many products.
fn filters() -> Vec<Filter> {
    let currency = Some(Currency::EUR);
    let (min_price, max_price) = (Some(1500), Some(19_000));
    vec![
        Filter::default(),
        Filter { available: Some(true), ..Filter::default() },
        Filter { currency, ..Filter::default() },
        Filter { currency, available: Some(true), ..Filter::default() },
        Filter { currency, min_price, ..Filter::default() },
        Filter { currency, max_price, ..Filter::default() },
        Filter { currency, min_price, max_price, ..Filter::default() },
        Filter { currency, min_price, max_price, available: Some(true), ..Filter::default() },
    ]
}

/// The filters that are valid with an order.
fn filters_of(sort: Sort) -> impl Iterator<Item = Filter> {
    filters().into_iter().filter(move |filter| !matches!(sort, Sort::Price(_)) || filter.currency.is_some())
}

async fn page(mysql: &Mysql, filter: &Filter, sort: Sort, after: Option<&Position>) -> Option<Position> {
    pages(mysql, filter, sort, after, 1).await
}

/// The position after a number of pages, read as one.
async fn pages(mysql: &Mysql, filter: &Filter, sort: Sort, after: Option<&Position>, count: u32) -> Option<Position> {
    let found = product_list::list(mysql, filter, sort, after, count * LIMIT).await.unwrap();
    found.last().map(|product| sort.position(product))
}

/// The search step of the plan: the steps that assemble the page are checked and left out.
async fn search_of(mysql: &Mysql, filter: &Filter, sort: Sort, after: Option<&Position>) -> product_list::Step {
    let steps = product_list::plan(mysql, filter, sort, after, LIMIT).await.unwrap();
    let [page, row, search] = <[_; 3]>::try_from(steps).unwrap_or_else(|steps| panic!("another plan: {steps:?}"));
    assert!(page.table.starts_with("<derived"), "{page:?}");
    assert_eq!((row.access.as_str(), row.index.as_deref()), ("eq_ref", Some("PRIMARY")), "{row:?}");
    search
}

#[tokio::test]
async fn every_list_walks_an_index_that_is_in_its_order() {
    let mysql = catalogue().await;
    for sort in SORTS {
        for filter in filters_of(sort) {
            let second = page(&mysql, &filter, sort, None).await;
            for after in [None, second.as_ref()] {
                let step = search_of(&mysql, &filter, sort, after).await;
                let index = match sort {
                    Sort::Newest => "products_newest",
                    Sort::Name(_) => "products_by_name",
                    Sort::Price(_) => "products_by_price",
                };
                assert!(matches!(step.access.as_str(), "ref" | "range"), "{sort:?} {filter:?}: {step:?}");
                assert_eq!(step.index.as_deref(), Some(index), "{sort:?} {filter:?}: {step:?}");
                assert!(!step.extra.contains("filesort"), "{sort:?} {filter:?}: {step:?}");
                assert!(step.extra.contains("Using index"), "{sort:?} {filter:?}: {step:?}");
            }
        }
    }
}

/// Walking the index past all others would take longer than sorting few matches.
#[tokio::test]
async fn where_few_products_pass_the_filter_only_those_are_sorted() {
    let mysql = catalogue().await;
    let few = [
        Filter { currency: Some(Currency::CHF), ..Filter::default() },
        Filter { currency: Some(Currency::EUR), min_price: Some(777), max_price: Some(777), ..Filter::default() },
        Filter { currency: Some(Currency::EUR), min_price: Some(20_000_000), ..Filter::default() },
    ];
    // The sample catalogue has no product that is out of stock.
    let sold_out = Filter { currency: Some(Currency::EUR), available: Some(false), ..Filter::default() };
    for sort in SORTS {
        for (filter, index) in
            few.iter().map(|filter| (filter, "products_by_price")).chain([(&sold_out, "products_by_availability")])
        {
            let step = search_of(&mysql, filter, sort, None).await;
            assert_eq!(step.index.as_deref(), Some(index), "{sort:?} {filter:?}: {step:?}");
            assert!(matches!(step.access.as_str(), "ref" | "range"), "{sort:?} {filter:?}: {step:?}");
        }
    }
}

#[tokio::test]
async fn a_search_asks_an_index_and_sorts_only_what_it_finds() {
    let mysql = catalogue().await;
    for (text, access, index) in [
        ("brass lantern", "fulltext", "products_words"),
        ("of brass lan", "fulltext", "products_words"),
        ("zzz", "fulltext", "products_words"),
        ("zz", "range", "products_by_name"),
        ("b", "range", "products_by_name"),
    ] {
        let filter = Filter { search: Search::new(text), ..Filter::default() };
        for sort in &SORTS[..3] {
            let step = search_of(&mysql, &filter, *sort, None).await;
            assert_eq!((step.access.as_str(), step.index.as_deref()), (access, Some(index)), "{text:?}: {step:?}");
        }
    }
}

#[tokio::test]
async fn a_late_page_costs_what_the_first_one_does() {
    let mysql = catalogue().await;
    for sort in SORTS {
        for filter in filters_of(sort) {
            let mut after = None;
            for _ in 0..(LATE - 1) / STEP {
                after = pages(&mysql, &filter, sort, after.as_ref(), STEP).await;
            }
            let mut ratios = Vec::new();
            while ratios.last().is_none_or(|ratio| *ratio > TOLERANCE) {
                assert!(ratios.len() < ROUNDS, "{sort:?} {filter:?}: page {LATE} takes {ratios:.2?} times as long");
                ratios.push(ratio(&mysql, &filter, sort, after.as_ref()).await);
            }
            println!("{sort:?} {filter:?}: {ratios:.2?}");
        }
    }
}

/// The ratio of median times of the late page and the first one, sampled in turns.
async fn ratio(mysql: &Mysql, filter: &Filter, sort: Sort, late: Option<&Position>) -> f64 {
    let (mut first_times, mut late_times) = (Vec::new(), Vec::new());
    for _ in 0..SAMPLES {
        for (after, times) in [(None, &mut first_times), (late, &mut late_times)] {
            let start = Instant::now();
            let _ = page(mysql, filter, sort, after).await;
            times.push(start.elapsed());
        }
    }
    let median = |mut times: Vec<Duration>| {
        times.sort_unstable();
        times[times.len() / 2].as_secs_f64()
    };
    median(late_times) / median(first_times)
}
