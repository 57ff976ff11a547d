//! An HTTP endpoint's declaration.

use crate::error::Problem;
use garde::Validate;
use serde::{Serialize, de::DeserializeOwned};
use utoipa::{IntoParams, ToSchema};

use super::{Access, AccessRule, FromBody, Function, Idempotency, Limit, Precondition};

/// An HTTP method.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    GET,
    POST,
    PUT,
    PATCH,
    DELETE,
}

impl Method {
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::GET => "GET",
            Self::POST => "POST",
            Self::PUT => "PUT",
            Self::PATCH => "PATCH",
            Self::DELETE => "DELETE",
        }
    }
}

/// An endpoint: one route and the function behind it. Declared with [`crate::endpoint!`].
pub trait Endpoint: Function {
    const METHOD: Method;
    /// With parameters in braces, as API Gateway and OpenAPI write it.
    const PATH: &'static str;
    /// `METHOD PATH`: how API Gateway names the route.
    const ROUTE_KEY: &'static str;
    /// What the endpoint does, for the OpenAPI document.
    const SUMMARY: &'static str;
    /// The status of a successful reply.
    const STATUS: u16;
    /// Media types of the reply. With several, the `Accept` header chooses; the first is the default.
    const MEDIA_TYPES: &'static [&'static str];
    /// Whether the reply is streamed, from a function URL: HTTP APIs buffer a reply until it is complete.
    const STREAMED: bool;
    /// The problems it may answer, besides those that follow from its access rule, body and needs.
    const PROBLEMS: &'static [Problem];
    /// Its rate limit. The wrapper counts by address, and by the account that the declaration names.
    const LIMIT: Option<Limit>;

    type Access: AccessRule;
    type Idempotency: Idempotency;
    type Precondition: Precondition;
    type Path: DeserializeOwned + Validate<Context = ()> + IntoParams + Send;
    type Query: DeserializeOwned + Validate<Context = ()> + IntoParams + Send;
    type Body: FromBody + Send;
    type Reply: Serialize + ToSchema + Send;
}

/// An endpoint's route, for the authorizer's table.
#[derive(Clone, Copy, Debug)]
pub struct Route {
    /// The function's name, which is also the `operationId`.
    pub name: &'static str,
    /// `METHOD PATH`.
    pub route_key: &'static str,
    pub access: Access,
    pub limit: Option<Limit>,
    /// Whether it is served at a function URL instead of the API.
    pub streamed: bool,
}

impl Route {
    #[must_use]
    pub const fn of<E: Endpoint>() -> Self {
        let (access, limit, streamed) = (E::Access::ACCESS, E::LIMIT, E::STREAMED);
        Self { name: E::NAME, route_key: E::ROUTE_KEY, access, limit, streamed }
    }
}
