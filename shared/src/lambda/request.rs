//! What a handler gets of an HTTP request: parsed, validated, and admitted.

use std::{borrow::Cow, collections::HashMap, future::Future};

use aws_lambda_events::{apigw::ApiGatewayV2httpRequest, http::header};
use base64::{Engine, engine::general_purpose::STANDARD as BASE64};
use garde::Validate;
use serde::de::{
    DeserializeOwned,
    value::{Error as ValueError, MapDeserializer},
};

use super::{AfterReply, negotiation};
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
        event: &ApiGatewayV2httpRequest,
        caller: Option<Caller>,
        ambient: Ambient,
        trace: Trace,
        after_reply: AfterReply,
    ) -> Result<Self, ApiError> {
        let caller = E::Access::admit(caller)?;
        let bytes = match E::Body::PRESENCE {
            Presence::None => Cow::Borrowed(&[][..]),
            Presence::Optional if event.body.as_deref().unwrap_or_default().is_empty() => Cow::Borrowed(&[][..]),
            Presence::Optional | Presence::Required => body(event)?,
        };
        let header = |name: &str| event.headers.get(name).map(|value| value.to_str().unwrap_or_default());
        Ok(Self {
            caller,
            idempotency_key: E::Idempotency::key(header("idempotency-key"), &payload(&event.path_parameters, &bytes))?,
            if_match: E::Precondition::version(header("if-match"))?,
            path: path(&event.path_parameters)?,
            query: read_query(event.raw_query_string.as_deref().unwrap_or_default())?,
            body: E::Body::from_body(&bytes)?,
            client: Client::new(
                event.request_context.http.source_ip.as_deref().unwrap_or_default(),
                event.request_context.http.user_agent.as_deref().unwrap_or_default(),
            ),
            media_type: media_type::<E>(header("accept"))?,
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
    if bytes.len() > MAX_BODY_BYTES {
        return Err(Problem::PayloadTooLarge.into());
    }
    Ok(bytes)
}

fn path<T: DeserializeOwned + Validate<Context = ()>>(parameters: &HashMap<String, String>) -> Result<T, ApiError> {
    let pairs = parameters.iter().map(|(name, value)| (name.as_str(), value.as_str()));
    let value = T::deserialize(MapDeserializer::<_, ValueError>::new(pairs));
    let value = value.map_err(|error| ApiError::new(Problem::MalformedRequest, format!("The path: {error}")))?;
    validate(&value)?;
    Ok(value)
}
