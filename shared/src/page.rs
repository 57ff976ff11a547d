//! Keyset pagination: a cursor holds the position where the last page ended, not a number of rows to skip.
//!
//! A cursor is opaque and sealed with a MAC: a changed one, or one of another endpoint or other filters, is refused.

use std::borrow::Cow;

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD as BASE64URL};
use serde::{Serialize, de::DeserializeOwned};
use utoipa::{
    PartialSchema, ToSchema,
    openapi::{
        Ref, RefOr,
        schema::{ArrayBuilder, ObjectBuilder, Schema, SchemaType, Type},
    },
};

use crate::{
    error::{ApiError, Problem},
    mac::MacKey,
};

/// The most items of a page.
pub const MAX_LIMIT: u32 = 100;
/// The default number of items of a page.
#[must_use]
pub const fn default_limit() -> u32 {
    20
}

const PURPOSE: &str = "cursor";
/// Bytes of the tag at the start of a cursor.
const TAG_LENGTH: usize = 32;

/// One page of a list.
#[derive(Serialize)]
pub struct Page<T> {
    pub items: Vec<T>,
    /// The `cursor` of the next page; null on the last one.
    pub next: Option<String>,
}

/// By hand: the derived schema would have one name for the pages of all types.
impl<T: ToSchema> PartialSchema for Page<T> {
    fn schema() -> RefOr<Schema> {
        let next = ObjectBuilder::new()
            .schema_type(SchemaType::from_iter([Type::String, Type::Null]))
            .description(Some("The `cursor` of the next page; null on the last one."));
        let page = ObjectBuilder::new()
            .description(Some("One page of a list."))
            .property("items", ArrayBuilder::new().items(Ref::from_schema_name(T::name())))
            .required("items")
            .property("next", next)
            .required("next");
        page.into()
    }
}

impl<T: ToSchema> ToSchema for Page<T> {
    fn name() -> Cow<'static, str> {
        format!("{}Page", T::name()).into()
    }

    fn schemas(schemas: &mut Vec<(String, RefOr<Schema>)>) {
        T::schemas(schemas);
        schemas.push((T::name().into_owned(), T::schema()));
    }
}

impl<T> Page<T> {
    /// A page of up to `limit` items, from up to one item more, which tells whether another page follows. `position` is
    /// an item's place in the list.
    ///
    /// # Errors
    /// When the key is not available.
    pub async fn new<P: Serialize>(
        mut items: Vec<T>,
        limit: u32,
        mac: &MacKey,
        list: &str,
        position: impl Fn(&T) -> P,
    ) -> Result<Self, ApiError> {
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        let has_more = items.len() > limit;
        items.truncate(limit);
        let next = match items.last().filter(|_| has_more) {
            Some(item) => Some(seal(mac, list, &position(item)).await?),
            None => None,
        };
        Ok(Self { items, next })
    }

    /// The page with each item converted.
    #[must_use]
    pub fn map<U>(self, turn: impl Fn(T) -> U) -> Page<U> {
        Page { items: self.items.into_iter().map(turn).collect(), next: self.next }
    }
}

/// Seals a position into a cursor. `list` names the endpoint and its filters.
async fn seal(mac: &MacKey, list: &str, position: &impl Serialize) -> Result<String, ApiError> {
    let position = serde_json::to_vec(position).map_err(ApiError::internal)?;
    let tag = mac.tag(PURPOSE, &[list.as_bytes(), &position]).await?;
    Ok(BASE64URL.encode([tag, position].concat()))
}

/// The position in a cursor; `None` without a cursor.
///
/// # Errors
/// [`Problem::InvalidCursor`] for a changed cursor or one of another list; when the key is not available.
pub async fn position<P: DeserializeOwned>(
    mac: &MacKey,
    list: &str,
    cursor: Option<&str>,
) -> Result<Option<P>, ApiError> {
    let Some(cursor) = cursor else { return Ok(None) };
    let bytes = BASE64URL.decode(cursor).map_err(|_| Problem::InvalidCursor)?;
    let (tag, position) = bytes.split_at_checked(TAG_LENGTH).ok_or(Problem::InvalidCursor)?;
    if !mac.verify(PURPOSE, &[list.as_bytes(), position], tag).await? {
        return Err(Problem::InvalidCursor.into());
    }
    serde_json::from_slice(position).map(Some).map_err(|_| Problem::InvalidCursor.into())
}
