//! What a handler gets of an HTTP request: parsed, validated, and admitted.

use std::{
    borrow::Cow,
    collections::HashMap,
    net::{IpAddr, Ipv6Addr},
};

use aws_lambda_events::{apigw::ApiGatewayV2httpRequest, http::header};
use base64::{Engine, engine::general_purpose::STANDARD as BASE64};
use garde::Validate;
use serde::{
    de::DeserializeOwned,
    de::value::{Error as ValueError, MapDeserializer},
};
use utoipa::{ToSchema, openapi::RefOr, openapi::schema::Schema};

use super::{idempotency::payload, negotiation};
use crate::{
    ambient::Ambient,
    auth::Caller,
    contract::{AccessRule, Endpoint, Idempotency, NoBody, Precondition},
    error::{ApiError, FieldError, Problem},
    telemetry::Trace,
};

/// The largest body that is looked at.
pub(super) const MAX_BODY: usize = 1024 * 1024;

/// One request to an endpoint.
pub struct Request<E: Endpoint> {
    /// Who calls; `()` where anybody may.
    pub caller: <E::Access as AccessRule>::Caller,
    pub idempotency_key: <E::Idempotency as Idempotency>::Key,
    /// The version that `If-Match` names; `()` where it is not asked for.
    pub if_match: <E::Precondition as Precondition>::Version,
    pub path: E::Path,
    pub query: E::Query,
    pub body: E::Body,
    pub client: Client,
    /// What the reply is to be written in: one of the endpoint's media types.
    pub media_type: &'static str,
    /// The clock and the randomness.
    pub ambient: Ambient,
    /// What follow-up messages continue.
    pub trace: Trace,
}

/// Where a request came from, as API Gateway saw it.
#[derive(Clone, Debug)]
pub struct Client {
    /// An IPv4 address, or the /64 network of an IPv6 address, which is what one customer of a provider has.
    pub network: String,
    /// As the client calls itself, cut to 200 characters.
    pub user_agent: String,
}

impl Client {
    fn of(event: &ApiGatewayV2httpRequest) -> Self {
        let http = &event.request_context.http;
        let address = http.source_ip.as_deref().unwrap_or_default();
        let network = match address.parse() {
            Ok(IpAddr::V6(address)) if address.to_ipv4_mapped().is_none() => {
                let [a, b, c, d, ..] = address.segments();
                format!("{}/64", Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
            }
            Ok(address) => address.to_canonical().to_string(),
            Err(_) => "unknown".to_owned(),
        };
        let user_agent = http.user_agent.as_deref().unwrap_or_default();
        Self { network, user_agent: user_agent.chars().filter(|c| !c.is_control()).take(200).collect() }
    }
}

/// A body that an endpoint takes: implemented for everything that can be parsed, validated and described.
pub trait FromBody: Sized {
    /// Whether there has to be one.
    const REQUIRED: bool;

    /// Parses and validates.
    ///
    /// # Errors
    /// [`Problem::MalformedRequest`] for what is not JSON, [`Problem::ValidationFailed`] for what is not allowed.
    fn from_body(bytes: &[u8]) -> Result<Self, ApiError>;

    /// The schema, and those it refers to, for the OpenAPI document.
    fn describe(schemas: &mut Vec<(String, RefOr<Schema>)>) -> Option<RefOr<Schema>>;
}

impl<T: DeserializeOwned + Validate<Context = ()> + ToSchema> FromBody for T {
    const REQUIRED: bool = true;

    fn from_body(bytes: &[u8]) -> Result<Self, ApiError> {
        read_json(bytes)
    }

    fn describe(schemas: &mut Vec<(String, RefOr<Schema>)>) -> Option<RefOr<Schema>> {
        Some(crate::contract::reference::<T>(schemas))
    }
}

impl FromBody for NoBody {
    const REQUIRED: bool = false;

    fn from_body(_: &[u8]) -> Result<Self, ApiError> {
        Ok(Self)
    }

    fn describe(_: &mut Vec<(String, RefOr<Schema>)>) -> Option<RefOr<Schema>> {
        None
    }
}

impl<E: Endpoint> Request<E> {
    /// Admits the caller, then reads the rest.
    pub(super) fn read(
        event: &ApiGatewayV2httpRequest,
        caller: Option<Caller>,
        ambient: Ambient,
        trace: Trace,
    ) -> Result<Self, ApiError> {
        let caller = E::Access::admit(caller)?;
        let bytes = if E::Body::REQUIRED { body(event)? } else { Cow::Borrowed(&[][..]) };
        let header = |name: &str| event.headers.get(name).map(|value| value.to_str().unwrap_or_default());
        Ok(Self {
            caller,
            idempotency_key: E::Idempotency::key(header("idempotency-key"), &payload(&event.path_parameters, &bytes))?,
            if_match: E::Precondition::version(header("if-match"))?,
            path: path(&event.path_parameters)?,
            query: query(event.raw_query_string.as_deref().unwrap_or_default())?,
            body: E::Body::from_body(&bytes)?,
            client: Client::of(event),
            media_type: media_type::<E>(header("accept"))?,
            ambient,
            trace,
        })
    }
}

/// Only where there are several: a client gets JSON whatever it asked for, as long as there is nothing else.
fn media_type<E: Endpoint>(accept: Option<&str>) -> Result<&'static str, ApiError> {
    match E::MEDIA_TYPES {
        [only] => Ok(only),
        several => negotiation::media_type(several, accept).ok_or_else(|| {
            let detail = format!("Accept takes one of these: {}", several.join(", "));
            ApiError::new(Problem::NotAcceptable, detail)
        }),
    }
}

/// The body's bytes, if they are JSON by their header.
fn body(event: &ApiGatewayV2httpRequest) -> Result<Cow<'_, [u8]>, ApiError> {
    let media_type = event.headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let media_type = media_type.split(';').next().unwrap_or_default().trim();
    if !media_type.eq_ignore_ascii_case("application/json") {
        return Err(Problem::UnsupportedMediaType.into());
    }
    let text = event.body.as_deref().unwrap_or_default();
    let bytes = if event.is_base64_encoded {
        let bytes = BASE64.decode(text);
        Cow::Owned(bytes.map_err(|_| ApiError::new(Problem::MalformedRequest, "The body is not base64"))?)
    } else {
        Cow::Borrowed(text.as_bytes())
    };
    if bytes.len() > MAX_BODY {
        return Err(Problem::PayloadTooLarge.into());
    }
    Ok(bytes)
}

/// Parses JSON and validates what it says.
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
        if !error.is_data() {
            return not_json(error);
        }
        // The parser adds where in the text it stands; the field's name says that better.
        let text = error.to_string();
        ApiError::field(field, text.split(" at line ").next().unwrap_or_default())
    })?;
    json.end().map_err(not_json)?;
    validate(&value)?;
    Ok(value)
}

fn path<T: DeserializeOwned + Validate<Context = ()>>(parameters: &HashMap<String, String>) -> Result<T, ApiError> {
    let pairs = parameters.iter().map(|(name, value)| (name.as_str(), value.as_str()));
    let value = T::deserialize(MapDeserializer::<_, ValueError>::new(pairs));
    let value = value.map_err(|error| ApiError::new(Problem::MalformedRequest, format!("The path: {error}")))?;
    validate(&value)?;
    Ok(value)
}

fn query<T: DeserializeOwned + Validate<Context = ()>>(text: &str) -> Result<T, ApiError> {
    let value = serde_urlencoded::from_str(text);
    let value = value.map_err(|error| ApiError::new(Problem::MalformedRequest, format!("The query: {error}")))?;
    validate(&value)?;
    Ok(value)
}

fn validate<T: Validate<Context = ()>>(value: &T) -> Result<(), ApiError> {
    value.validate().map_err(|report| {
        let field = |(path, error): &(garde::Path, garde::Error)| FieldError {
            field: path.to_string(),
            detail: error.message().to_owned(),
        };
        ApiError::fields(report.iter().map(field).collect())
    })
}
