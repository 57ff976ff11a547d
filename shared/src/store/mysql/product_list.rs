//! Lists of products: every query has an index that is in the list's order, or finds few rows, or finds words.
//!
//! A page is found in the index alone, and only then are its rows read: see `migrations/0003_lists_and_stock.sql`.

use serde::{Deserialize, Serialize};
use sqlx::{MySql, QueryBuilder, Row};
use uuid::Uuid;

use super::products::{COLUMNS, Product, product};
use crate::store::{Mysql, StoreError};
use crate::{boxed, money::Currency};

/// The shortest word that a full-text index holds, in characters, unless its server was told otherwise.
const MIN_INDEXED_LENGTH: usize = 3;

/// So many products are found sooner among all, in the order of the list, than sorted.
const SORT_THRESHOLD: u32 = 500;

const NEWEST: &str = "products_newest";
const BY_NAME: &str = "products_by_name";
const BY_PRICE: &str = "products_by_price";
const BY_AVAILABILITY: &str = "products_by_availability";

/// Which products to list. Every part that is there narrows the list.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    pub currency: Option<Currency>,
    /// In minor units. A price says nothing without a currency.
    pub min_price: Option<u64>,
    pub max_price: Option<u64>,
    /// Whether there is any in stock.
    pub available: Option<bool>,
    pub search: Option<Search>,
}

/// In what order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sort {
    Newest,
    Name(Direction),
    Price(Direction),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    Ascending,
    Descending,
}

/// Where a product stands in a list of one order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Position {
    Newest(Uuid),
    Name(String, Uuid),
    Price(u64, Uuid),
}

impl Sort {
    #[must_use]
    pub fn position(self, product: &Product) -> Position {
        match self {
            Self::Newest => Position::Newest(product.id),
            Self::Name(_) => Position::Name(product.name.clone(), product.id),
            Self::Price(_) => Position::Price(product.price.amount, product.id),
        }
    }

    const fn order(self) -> &'static str {
        match self {
            Self::Newest => " ORDER BY id DESC",
            Self::Name(Direction::Ascending) => " ORDER BY name, id",
            Self::Name(Direction::Descending) => " ORDER BY name DESC, id DESC",
            Self::Price(Direction::Ascending) => " ORDER BY price_minor, id",
            Self::Price(Direction::Descending) => " ORDER BY price_minor DESC, id DESC",
        }
    }

    /// What the products after a position are compared with.
    const fn after(self) -> &'static str {
        match self {
            Self::Name(Direction::Ascending) | Self::Price(Direction::Ascending) => " > ",
            Self::Newest | Self::Name(Direction::Descending) | Self::Price(Direction::Descending) => " < ",
        }
    }
}

/// What somebody typed to find products by their names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Search {
    /// All of these are words of the name, the last one the beginning of a word.
    Words(Vec<String>),
    /// The name begins with this: there is no word that is long enough for the index of words.
    Beginning(String),
}

impl Search {
    /// Takes whatever is a word out of whatever was typed; nothing if there is none. No operator of a query survives this.
    #[must_use]
    pub fn new(text: &str) -> Option<Self> {
        use unicode_normalization::{UnicodeNormalization, char::is_combining_mark};

        let text: String = text.nfc().collect();
        let is_word = |c: char| c.is_alphanumeric() || c == '_' || is_combining_mark(c);
        let words: Vec<String> =
            text.split(|c| !is_word(c)).filter(|word| !word.is_empty()).map(str::to_owned).collect();
        if words.is_empty() {
            None
        } else if words.iter().any(|word| is_indexed(word)) {
            Some(Self::Words(words))
        } else {
            Some(Self::Beginning(words.join(" ")))
        }
    }
}

fn is_indexed(word: &str) -> bool {
    word.chars().count() >= MIN_INDEXED_LENGTH
}

/// Up to `limit` products that are not deleted, after a position.
///
/// # Errors
/// When the store does not answer.
#[tracing::instrument(name = "products.list", skip_all)]
#[boxed]
pub async fn list(
    mysql: &Mysql,
    filter: &Filter,
    sort: Sort,
    after: Option<&Position>,
    limit: u32,
) -> Result<Vec<Product>, StoreError> {
    let index = index(mysql, filter, sort).await?;
    let mut query = selection("", index, filter, sort, after, limit);
    let rows = query.build().fetch_all(&mut *mysql.connection().await?).await?;
    Ok(rows.iter().map(product).collect::<Result<_, _>>()?)
}

/// One step of a query's plan, as EXPLAIN says it.
#[derive(Debug)]
pub struct Step {
    /// `<derived2>` is the page that was found.
    pub table: String,
    /// How rows are found: `ALL` looks at every one of them.
    pub access: String,
    pub index: Option<String>,
    pub extra: String,
}

/// How the store would find a page, for tests.
///
/// # Errors
/// When the store does not answer.
#[tracing::instrument(name = "products.list_plan", skip_all)]
#[boxed]
pub async fn plan(
    mysql: &Mysql,
    filter: &Filter,
    sort: Sort,
    after: Option<&Position>,
    limit: u32,
) -> Result<Vec<Step>, StoreError> {
    let index = index(mysql, filter, sort).await?;
    let mut query = selection("EXPLAIN ", index, filter, sort, after, limit);
    let rows = query.build().persistent(false).fetch_all(&mut *mysql.connection().await?).await?;
    let text = |row: &sqlx::mysql::MySqlRow, column: &str| -> Result<Option<String>, sqlx::Error> {
        Ok(row.try_get::<Option<Vec<u8>>, _>(column)?.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()))
    };
    let step = |row| {
        Ok(Step {
            table: text(row, "table")?.unwrap_or_default(),
            access: text(row, "type")?.unwrap_or_default(),
            index: text(row, "key")?,
            extra: text(row, "Extra")?.unwrap_or_default(),
        })
    };
    Ok(rows.iter().map(step).collect::<Result<_, sqlx::Error>>()?)
}

fn selection(
    prefix: &str,
    index: Option<&str>,
    filter: &Filter,
    sort: Sort,
    after: Option<&Position>,
    limit: u32,
) -> QueryBuilder<MySql> {
    let mut query = QueryBuilder::new(prefix);
    query.push("SELECT ").push(COLUMNS).push(" FROM (SELECT id FROM products");
    if let Some(index) = index {
        query.push(" FORCE INDEX (").push(index).push(")");
    }
    query.push(" WHERE deleted_at IS NULL");
    push_filter(&mut query, filter);
    if let Some(position) = after {
        push_position(&mut query, sort, position);
    }
    query.push(sort.order()).push(" LIMIT ").push_bind(limit);
    query.push(") AS page JOIN products USING (id)").push(sort.order());
    query
}

/// The index to find a page in: the one in the list's order; or the one of what is asked for, where few products have that, since
/// sorting them is less than walking past all the others. The store would choose too, and after a day of many changes wrongly.
async fn index(mysql: &Mysql, filter: &Filter, sort: Sort) -> Result<Option<&'static str>, StoreError> {
    let in_order = match (&filter.search, sort) {
        (Some(Search::Words(_)), _) => return Ok(None),
        (Some(Search::Beginning(_)), _) => return Ok(Some(BY_NAME)),
        (None, Sort::Newest) => NEWEST,
        (None, Sort::Name(_)) => BY_NAME,
        (None, Sort::Price(_)) => BY_PRICE,
    };
    let Filter { currency, min_price, max_price, available, .. } = *filter;
    let by_price = Filter { currency, min_price, max_price, ..Filter::default() };
    let by_availability = Filter { available, ..Filter::default() };
    if currency.is_some() && in_order != BY_PRICE && are_few(mysql, BY_PRICE, &by_price).await? {
        return Ok(Some(BY_PRICE));
    }
    if available.is_some() && are_few(mysql, BY_AVAILABILITY, &by_availability).await? {
        return Ok(Some(BY_AVAILABILITY));
    }
    Ok(Some(in_order))
}

/// Whether fewer than [`SORT_THRESHOLD`] products pass a filter that its index alone answers. Looks at no more than that.
#[tracing::instrument(name = "products.are_few", skip_all)]
async fn are_few(mysql: &Mysql, index: &str, filter: &Filter) -> Result<bool, StoreError> {
    let mut query = QueryBuilder::new("SELECT COUNT(*) FROM (SELECT 1 FROM products FORCE INDEX (");
    query.push(index).push(") WHERE deleted_at IS NULL");
    push_filter(&mut query, filter);
    query.push(" LIMIT ").push_bind(SORT_THRESHOLD).push(") AS few");
    let count: i64 = query.build_query_scalar().fetch_one(&mut *mysql.connection().await?).await?;
    Ok(count < i64::from(SORT_THRESHOLD))
}

fn push_filter(query: &mut QueryBuilder<MySql>, filter: &Filter) {
    if let Some(currency) = filter.currency {
        query.push(" AND currency = ").push_bind(currency.as_str());
    }
    if let Some(amount) = filter.min_price {
        query.push(" AND price_minor >= ").push_bind(amount);
    }
    if let Some(amount) = filter.max_price {
        query.push(" AND price_minor <= ").push_bind(amount);
    }
    if let Some(is_available) = filter.available {
        query.push(" AND is_available = ").push_bind(is_available);
    }
    match &filter.search {
        Some(Search::Words(words)) => push_words(query, words),
        Some(Search::Beginning(text)) => {
            query.push(" AND name LIKE ").push_bind(text.replace('_', "\\_") + "%");
        }
        None => {}
    }
}

/// The index finds the names with all the words that it holds; among them, those with the short ones are looked for.
fn push_words(query: &mut QueryBuilder<MySql>, words: &[String]) {
    let Some((last, others)) = words.split_last() else { return };
    let whole = others.iter().map(|word| (word, "", "($|[^[:alnum:]_])"));
    let words: Vec<_> = whole.chain([(last, "*", "")]).collect();
    let indexed = words.iter().filter(|(word, ..)| is_indexed(word)).map(|(word, star, _)| format!("+{word}{star}"));
    let indexed = indexed.collect::<Vec<_>>().join(" ");
    query.push(" AND MATCH (name) AGAINST (").push_bind(indexed).push(" IN BOOLEAN MODE)");
    for (word, _, end) in words.iter().filter(|(word, ..)| !is_indexed(word)) {
        query.push(" AND name REGEXP ").push_bind(format!("(^|[^[:alnum:]_]){word}{end}"));
    }
}

/// Written out, since a comparison of pairs finds no range in the index.
fn push_position(query: &mut QueryBuilder<MySql>, sort: Sort, position: &Position) {
    let after = sort.after();
    match position {
        Position::Newest(id) => {
            query.push(" AND id").push(after).push_bind(*id);
        }
        Position::Name(name, id) => {
            query.push(" AND (name").push(after).push_bind(name.clone());
            query.push(" OR (name = ").push_bind(name.clone()).push(" AND id").push(after).push_bind(*id).push("))");
        }
        Position::Price(amount, id) => {
            query.push(" AND (price_minor").push(after).push_bind(*amount);
            query.push(" OR (price_minor = ").push_bind(*amount).push(" AND id").push(after).push_bind(*id).push("))");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_but_words_is_left_of_a_search() {
        let words = |text: &str| Search::new(text);
        let all = |words: &[&str]| Some(Search::Words(words.iter().map(|word| (*word).to_owned()).collect()));
        assert_eq!(words("brass  lantern"), all(&["brass", "lantern"]));
        assert_eq!(words("+brass -\"lantern\"* (a) ~<>@%'\\"), all(&["brass", "lantern", "a"]));
        assert_eq!(words("Tee-Kännchen_2"), all(&["Tee", "Kännchen_2"]));
        assert_eq!(words("cafe\u{301}"), all(&["café"]));
        assert_eq!(words("दिया"), all(&["दिया"]));
        assert_eq!(words("b 2"), Some(Search::Beginning("b 2".to_owned())));
        for nothing in ["", "  ", "+-*\"()~<>@", "🐎", "\0"] {
            assert_eq!(words(nothing), None, "{nothing:?}");
        }
    }
}
