//! The body of a request: parsed, validated and described.

use garde::Validate;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;
use utoipa::{
    ToSchema,
    openapi::{RefOr, schema::Schema},
};

use super::{NoBody, reference};
use crate::error::{ApiError, FieldError, Problem};

/// Whether a request has a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Presence {
    Required,
    /// An empty one counts as none.
    Optional,
    /// One that comes is not looked at.
    None,
}

/// A body that may be left out.
pub struct Optional<T>(pub Option<T>);

impl<T: FromBody> FromBody for Optional<T> {
    const PRESENCE: Presence = Presence::Optional;

    fn from_body(bytes: &[u8]) -> Result<Self, ApiError> {
        if bytes.is_empty() { Ok(Self(None)) } else { T::from_body(bytes).map(Some).map(Self) }
    }

    fn describe(schemas: &mut Vec<(String, RefOr<Schema>)>) -> Option<RefOr<Schema>> {
        T::describe(schemas)
    }
}

/// A body that an endpoint takes: implemented for everything that can be parsed, validated and described.
pub trait FromBody: Sized {
    /// Whether there has to be one.
    const PRESENCE: Presence;

    /// Parses and validates.
    ///
    /// # Errors
    /// [`Problem::MalformedRequest`] for malformed JSON, [`Problem::ValidationFailed`] for values that are not allowed.
    fn from_body(bytes: &[u8]) -> Result<Self, ApiError>;

    /// The schema, and those it refers to, for the OpenAPI document.
    fn describe(schemas: &mut Vec<(String, RefOr<Schema>)>) -> Option<RefOr<Schema>>;
}

impl<T: DeserializeOwned + Validate<Context = ()> + ToSchema> FromBody for T {
    const PRESENCE: Presence = Presence::Required;

    fn from_body(bytes: &[u8]) -> Result<Self, ApiError> {
        read_json(bytes)
    }

    fn describe(schemas: &mut Vec<(String, RefOr<Schema>)>) -> Option<RefOr<Schema>> {
        Some(reference::<T>(schemas))
    }
}

impl FromBody for NoBody {
    const PRESENCE: Presence = Presence::None;

    fn from_body(_: &[u8]) -> Result<Self, ApiError> {
        Ok(Self)
    }

    fn describe(_: &mut Vec<(String, RefOr<Schema>)>) -> Option<RefOr<Schema>> {
        None
    }
}

/// Parses and validates JSON.
///
/// # Errors
/// As [`FromBody::from_body`].
pub fn read_json<T: DeserializeOwned + Validate<Context = ()>>(bytes: &[u8]) -> Result<T, ApiError> {
    let not_json =
        |error: serde_json::Error| ApiError::new(Problem::MalformedRequest, format!("The body is not JSON: {error}"));
    let mut json = serde_json::Deserializer::from_slice(bytes);
    let value: T = serde_path_to_error::deserialize(&mut json).map_err(|error| {
        let field = error.path().to_string();
        let error = error.into_inner();
        // The parser also calls it a syntax error when it meets a value of another kind: a number for a name.
        if !error.is_data() && serde_json::from_slice::<&RawValue>(bytes).is_err() {
            return not_json(error);
        }
        // The parser's text ends with a position in the JSON; the field's name says it better.
        let text = error.to_string();
        ApiError::field(field, text.split(" at line ").next().unwrap_or_default())
    })?;
    json.end().map_err(not_json)?;
    validate(&value)?;
    Ok(value)
}

/// Validates a parsed value.
///
/// # Errors
/// [`Problem::ValidationFailed`] with every field that is not allowed.
pub(crate) fn validate<T: Validate<Context = ()>>(value: &T) -> Result<(), ApiError> {
    value.validate().map_err(|report| {
        let field = |(path, error): &(garde::Path, garde::Error)| FieldError {
            field: camel_case(&path.to_string()),
            detail: error.message().to_owned(),
        };
        ApiError::fields(report.iter().map(field).collect())
    })
}

/// A field's name as the API writes it: the validator knows only Rust's.
fn camel_case(name: &str) -> String {
    let mut begins_word = false;
    let letter = |letter: char| {
        let begins = std::mem::replace(&mut begins_word, letter == '_');
        (letter != '_').then(|| if begins { letter.to_ascii_uppercase() } else { letter })
    };
    name.chars().filter_map(letter).collect()
}
