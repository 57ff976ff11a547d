//! Common paths, queries, bodies and replies: an id, or nothing.

use garde::Validate;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use utoipa::{
    IntoParams, ToSchema,
    openapi::path::{Parameter, ParameterIn},
};
use uuid::Uuid;

use super::validate;
use crate::error::{ApiError, Problem};

/// `{id}` in the path.
#[derive(Deserialize, Validate, IntoParams)]
#[garde(allow_unvalidated)]
pub struct IdPath {
    pub id: Uuid,
}

/// No path parameters.
#[derive(Deserialize, Validate)]
pub struct NoPath {}

/// No query parameters; any other is refused.
#[derive(Deserialize, Validate)]
#[serde(deny_unknown_fields)]
pub struct NoQuery {}

/// No body; one that is sent is ignored.
pub struct NoBody;

/// A reply without a body: the status 204.
#[derive(Serialize, ToSchema)]
pub struct NoContent;

macro_rules! no_parameters {
    ($($name:ident)+) => {
        $(impl utoipa::IntoParams for $name {
            fn into_params(_: impl Fn() -> Option<ParameterIn>) -> Vec<Parameter> {
                Vec::new()
            }
        })+
    };
}
no_parameters!(NoPath NoQuery);

/// Parses a query string and validates what it says.
///
/// # Errors
/// [`Problem::MalformedRequest`] for what cannot be parsed, [`Problem::ValidationFailed`] for what is not allowed.
pub fn read_query<T: DeserializeOwned + Validate<Context = ()>>(text: &str) -> Result<T, ApiError> {
    let value = serde_urlencoded::from_str(text);
    let value = value.map_err(|error| ApiError::new(Problem::MalformedRequest, format!("The query: {error}")))?;
    validate(&value)?;
    Ok(value)
}
