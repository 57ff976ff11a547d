//! `GET /v1/products`: filters, orders, pages.

use std::{cmp::Ordering, collections::BTreeSet};

use serde_json::Value;
use shared::{
    ambient::Ambient,
    money::{Currency, Money},
    store::{
        Mysql,
        mysql::products::{self, Product},
    },
};
use tests::{Call, Reply, Stage, people};

pub fn list(parameters: &[(&str, &str)]) -> Reply {
    Call::get(format!("/v1/products?{}", serde_urlencoded::to_string(parameters).unwrap())).send()
}

pub fn ids(page: &Value) -> Vec<String> {
    let items = page["items"].as_array().unwrap_or_else(|| panic!("{page}"));
    items.iter().map(|item| item["id"].as_str().unwrap().to_owned()).collect()
}

/// The ids of a whole list, page by page.
fn all(parameters: &[(&str, &str)], limit: &str) -> Vec<String> {
    let (mut found, mut cursor) = (Vec::new(), None::<String>);
    loop {
        let mut parameters = parameters.to_vec();
        parameters.push(("limit", limit));
        parameters.extend(cursor.as_deref().map(|cursor| ("cursor", cursor)));
        let page = list(&parameters).expect(200).json();
        let on_page = ids(&page);
        let is_last = page["next"].is_null();
        assert!(on_page.len() == limit.parse::<usize>().unwrap() || is_last, "{parameters:?}: {page}");
        found.extend(on_page);
        if is_last {
            return found;
        }
        cursor = page["next"].as_str().map(str::to_owned);
    }
}

/// Products that no other test touches: their prices are in a range of their own.
pub struct Shelf {
    pub from: u64,
    pub to: u64,
    pub products: Vec<Product>,
}

impl Shelf {
    /// Products with these names; every third is out of stock, and prices repeat.
    pub async fn new(names: &[String]) -> Self {
        let (ambient, mysql): (_, Mysql) = (Ambient::system(), Stage::get().resource());
        let from = (1 << 40) + (ambient.below(1 << 30) << 10);
        let mut products = Vec::new();
        for (number, name) in names.iter().enumerate() {
            let (id, now) = (ambient.id(), ambient.now());
            let number = u32::try_from(number).unwrap();
            products.push(Product {
                id,
                sku: id.to_string(),
                name: name.clone(),
                description: String::new(),
                price: Money { amount: from + u64::from(number * 7 % 13), currency: Currency::INR },
                stock: number % 3 * 5,
                version: 1,
                created_at: now,
                updated_at: now,
            });
        }
        products::insert_missing(&mysql, &products).await.unwrap();
        Self { from, to: from + 1000, products }
    }

    /// The ids of the listed products, sorted.
    fn sorted(
        &self,
        is_listed: impl Fn(&Product) -> bool,
        order: impl Fn(&Product, &Product) -> Ordering,
    ) -> Vec<String> {
        let mut listed: Vec<&Product> = self.products.iter().filter(|product| is_listed(product)).collect();
        listed.sort_by(|a, b| order(a, b));
        listed.into_iter().map(|product| product.id.to_string()).collect()
    }
}

type Order = fn(&Product, &Product) -> Ordering;

const ORDERS: [(&str, Order); 5] = [
    ("newest", |a, b| b.id.cmp(&a.id)),
    ("name", |a, b| (a.name.to_lowercase(), a.id).cmp(&(b.name.to_lowercase(), b.id))),
    ("-name", |a, b| (b.name.to_lowercase(), b.id).cmp(&(a.name.to_lowercase(), a.id))),
    ("price", |a, b| (a.price.amount, a.id).cmp(&(b.price.amount, b.id))),
    ("-price", |a, b| (b.price.amount, b.id).cmp(&(a.price.amount, a.id))),
];

#[tokio::test]
async fn every_order_with_every_filter_is_what_sorting_and_filtering_in_memory_makes_of_it() {
    let word = people::random();
    let things = ["Vase", "basket", "Basket", "Bowl", "Bowlful", "carpet", "Tea Glass", "Tea tray", "Zither"];
    let names: Vec<String> = (0..40).map(|number| format!("{} {word}", things[number * 5 % things.len()])).collect();
    let shelf = Shelf::new(&names).await;
    for (sort, order) in ORDERS {
        for (available, stock) in [("", 0..=u32::MAX), ("true", 1..=u32::MAX), ("false", 0..=0)] {
            for (from, to) in [(shelf.from, shelf.to), (shelf.from + 3, shelf.from + 7), (shelf.to, shelf.from)] {
                for search in ["", &word[..12], "b", "te", &format!("te {word}"), &format!("tea {word}")] {
                    let begins_with_it = |name: &str| name.to_lowercase().starts_with(search);
                    let is_listed = |product: &Product| {
                        let amount = product.price.amount;
                        let is_found = match search.len() {
                            0 | 12 => true,
                            1 | 2 => begins_with_it(&product.name),
                            // A short word that is not the last one has to be a whole word.
                            19 => false,
                            _ => product.name.starts_with("Tea "),
                        };
                        stock.contains(&product.stock) && (from..=to).contains(&amount) && is_found
                    };
                    let expected = shelf.sorted(is_listed, order);
                    let (min, max) = (from.to_string(), to.to_string());
                    let mut query = vec![("sort", sort), ("currency", "INR"), ("minPrice", &min), ("maxPrice", &max)];
                    query.extend((!available.is_empty()).then_some(("available", available)));
                    query.extend((!search.is_empty()).then_some(("search", search)));
                    assert_eq!(all(&query, "11"), expected, "{query:?}");
                }
            }
        }
    }
}

#[test]
fn without_a_filter_every_product_comes_once_the_newest_first() {
    let added: Vec<String> = (0..3).map(|_| people::new_product(1)).collect();
    let found = all(&[], "100");
    assert!(found.is_sorted_by(|a, b| a > b), "the newest first, none twice");
    let found: BTreeSet<String> = found.into_iter().collect();
    assert!(added.iter().all(|id| found.contains(id)));
    let first = list(&[]).expect(200);
    assert_eq!((ids(&first.json()).len(), first.header("etag"), first.header("x-cache")), (20, None, None));
}

#[tokio::test]
async fn a_list_goes_on_after_a_product_that_was_deleted_meanwhile() {
    let names: Vec<String> = (0..6).map(|number| format!("Lamp {number}")).collect();
    let shelf = Shelf::new(&names).await;
    let (min, max) = (shelf.from.to_string(), shelf.to.to_string());
    let query = [("sort", "name"), ("currency", "INR"), ("minPrice", min.as_str()), ("maxPrice", &max), ("limit", "3")];
    let first = list(&query).expect(200).json();
    let seen = ids(&first);
    let path = format!("/v1/products/{}", seen[2]);
    let _ = Call::new(ureq::http::Method::DELETE, path).token(people::admin()).send().expect(204);

    let cursor = first["next"].as_str().unwrap();
    let rest = list(&[&query[..], &[("cursor", cursor)]].concat()).expect(200).json();
    let expected: Vec<String> = shelf.products[3..].iter().map(|product| product.id.to_string()).collect();
    assert_eq!((ids(&rest), &rest["next"]), (expected, &Value::Null));
    let left = all(&query[..4], "3");
    assert_eq!((left.len(), left.contains(&seen[2])), (5, false));
}

#[tokio::test]
async fn a_cursor_that_was_changed_or_is_of_another_list_is_refused() {
    let names: Vec<String> = (0..4).map(|number| format!("Lamp {number}")).collect();
    let shelf = Shelf::new(&names).await;
    let (min, max) = (shelf.from.to_string(), shelf.to.to_string());
    let query = [("limit", "1"), ("sort", "price"), ("currency", "INR"), ("minPrice", min.as_str())];
    let page = list(&query).expect(200).json();
    let cursor = page["next"].as_str().unwrap();
    let _ = list(&[&query[..], &[("cursor", cursor)]].concat()).expect(200);

    let refuse = |why: &str, query: &[(&str, &str)], cursor: &str| {
        let reply = list(&[query, &[("cursor", cursor)]].concat());
        assert_eq!(reply.status, 400, "{why}: {reply:?}");
        let _ = reply.expect_problem(400, "invalid-cursor");
    };
    for at in [0, 20, cursor.len() / 2, cursor.len() - 2] {
        let other = if cursor.as_bytes()[at] == b'A' { "B" } else { "A" };
        let tampered = format!("{}{other}{}", &cursor[..at], &cursor[at + 1..]);
        refuse("a changed character", &query, &tampered);
    }
    for garbage in
        ["x", "", "AAAA", "%00", "💥", &"A".repeat(100), &cursor[..cursor.len() - 4], &format!("{cursor}AAAA")]
    {
        refuse("garbage", &query, garbage);
    }
    refuse("another order", &[&query[..1], &[("sort", "-price")], &query[2..]].concat(), cursor);
    refuse("another filter", &[&query[..], &[("maxPrice", &max)]].concat(), cursor);
    refuse("a filter less", &query[..3], cursor);
    refuse("another search", &[&query[..], &[("search", "lamp")]].concat(), cursor);
    refuse("another availability", &[&query[..], &[("available", "true")]].concat(), cursor);
    refuse("another currency", &[&query[..2], &[("currency", "EUR")], &query[3..]].concat(), cursor);

    let users = Call::get("/v1/users?limit=1").token(people::admin()).send().expect(200).json();
    refuse("a list of users", &query, users["next"].as_str().unwrap());
    let of_users = Call::get(format!("/v1/users?limit=1&cursor={cursor}")).token(people::admin()).send();
    let _ = of_users.expect_problem(400, "invalid-cursor");
}

#[test]
fn what_cannot_be_listed_is_refused() {
    for (parameters, field) in [
        (&[("minPrice", "1")][..], "currency"),
        (&[("maxPrice", "1")], "currency"),
        (&[("sort", "price")], "currency"),
        (&[("sort", "-price"), ("available", "true")], "currency"),
        (&[("limit", "0")], "limit"),
        (&[("limit", "101")], "limit"),
    ] {
        let problem = list(parameters).expect_problem(422, "validation-failed");
        assert_eq!(problem["errors"][0]["field"], field, "{parameters:?}: {problem}");
    }
    for parameters in [
        [("currency", "XXX")],
        [("sort", "stock")],
        [("sort", "name; DROP TABLE products")],
        [("available", "maybe")],
        [("minPrice", "-1")],
        [("limit", "1e3")],
        [("offset", "7")],
        [("deleted", "true")],
    ] {
        let _ = list(&parameters).expect_problem(400, "malformed-request");
    }
}
