//! What a handler gets of an HTTP request: parsed, validated, and admitted.

use std::future::Future;

use garde::Validate;
use lambda_http::http::header::{ACCEPT, CONTENT_TYPE, IF_MATCH};
use serde::de::{
    DeserializeOwned,
    value::{Error as ValueError, MapDeserializer},
};

use super::{
    AfterReply,
    event::{HttpRequest, PathParameters, client, header},
    negotiation,
};
use crate::{
    ambient::Ambient,
    contract::{AccessRule, Endpoint, FromBody, Idempotency, Precondition, Presence, payload, read_query, validate},
    error::{ApiError, Problem},
    identity::{Caller, Client},
    telemetry::Trace,
};

/// The largest body that is looked at.
pub(super) const MAX_BODY_BYTES: usize = 1024 * 1024;

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
    after_reply: AfterReply,
}

impl<E: Endpoint> Request<E> {
    /// Admits the caller, then reads the rest.
    pub(super) fn read(
        event: &HttpRequest,
        path_parameters: &PathParameters,
        caller: Option<Caller>,
        ambient: Ambient,
        trace: Trace,
        after_reply: AfterReply,
    ) -> Result<Self, ApiError> {
        let caller = E::Access::admit(caller).map_err(with_challenge)?;
        let bytes = match E::Body::PRESENCE {
            Presence::None => &[],
            Presence::Optional if event.body().is_empty() => &[],
            Presence::Optional | Presence::Required => body(event)?,
        };
        Ok(Self {
            caller,
            idempotency_key: E::Idempotency::key(header(event, "idempotency-key"), &payload(path_parameters, bytes))?,
            if_match: E::Precondition::version(header(event, IF_MATCH))?,
            path: path(path_parameters)?,
            query: read_query(event.uri().query().unwrap_or_default())?,
            body: E::Body::from_body(bytes)?,
            client: client(event),
            media_type: media_type::<E>(header(event, ACCEPT))?,
            ambient,
            trace,
            after_reply,
        })
    }

    /// Has work done that need not hold up the caller: when the reply has left, and before the environment may freeze. It is bounded by the
    /// deadline; a failure is a log line and a metric, so it has to be work that is made up for elsewhere.
    pub fn after_reply(&self, work: impl Future<Output = Result<(), ApiError>> + Send + 'static) {
        self.after_reply.push(&self.trace, work);
    }
}

/// A 401 says how to do better (RFC 9110, 15.5.2).
pub(super) fn with_challenge(error: ApiError) -> ApiError {
    if error.problem() == Problem::Unauthenticated { error.header("www-authenticate", "Bearer") } else { error }
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
fn body(event: &HttpRequest) -> Result<&[u8], ApiError> {
    let media_type = header(event, CONTENT_TYPE).and_then(|value| value.split(';').next()).unwrap_or_default();
    if !media_type.trim().eq_ignore_ascii_case("application/json") {
        return Err(Problem::UnsupportedMediaType.into());
    }
    let bytes = event.body().as_ref();
    if bytes.len() > MAX_BODY_BYTES {
        return Err(Problem::PayloadTooLarge.into());
    }
    Ok(bytes)
}

fn path<T: DeserializeOwned + Validate<Context = ()>>(parameters: &PathParameters) -> Result<T, ApiError> {
    let pairs = parameters.iter().map(|(name, value)| (*name, &**value));
    let value = T::deserialize(MapDeserializer::<_, ValueError>::new(pairs));
    let value = value.map_err(|error| ApiError::new(Problem::MalformedRequest, format!("The path: {error}")))?;
    validate(&value)?;
    Ok(value)
}
