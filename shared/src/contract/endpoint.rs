//! An HTTP endpoint's declaration.

use garde::Validate;
use serde::{Serialize, de::DeserializeOwned};
use utoipa::{IntoParams, ToSchema};

use super::{Access, AccessRule, Function, Limit, Precondition};
use crate::{
    auth::Callers,
    error::{ApiError, Problem},
    lambda::IdempotencyKey,
    store::Limiter,
};

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
    /// One sentence for the OpenAPI document.
    const SUMMARY: &'static str;
    /// The status of a successful reply.
    const STATUS: u16;
    /// What the reply may be written in. Where there are several, the client chooses (`Accept`); the first is for one that does not.
    const MEDIA_TYPES: &'static [&'static str];
    /// Whether the reply is sent while it is written, from a function URL: HTTP APIs hold a reply back until it is whole.
    const STREAMED: bool;
    /// The problems it may answer beyond those that follow from its access rule, body and needs.
    const PROBLEMS: &'static [Problem];
    /// How often it may be called. The wrapper counts by address; the handler counts by account.
    const LIMIT: Option<Limit>;

    type Access: AccessRule;
    type Idempotency: Idempotency;
    type Precondition: Precondition;
    type Path: DeserializeOwned + Validate<Context = ()> + IntoParams + Send;
    type Query: DeserializeOwned + Validate<Context = ()> + IntoParams + Send;
    type Body: crate::lambda::FromBody + Send;
    type Reply: Serialize + ToSchema + Send;

    /// What counts its calls, if it has a limit.
    fn limiter(needs: &Self::Needs) -> Option<&Limiter>;

    /// What finds out who calls, if no authorizer does: at a function URL, unless anybody may call.
    fn callers(needs: &Self::Needs) -> Option<&Callers>;
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
    /// Whether it is at a URL of the function's own, and not at the API's.
    pub streamed: bool,
}

impl Route {
    #[must_use]
    pub const fn of<E: Endpoint>() -> Self {
        let (access, limit, streamed) = (E::Access::ACCESS, E::LIMIT, E::STREAMED);
        Self { name: E::NAME, route_key: E::ROUTE_KEY, access, limit, streamed }
    }
}

/// Whether an endpoint asks for an `Idempotency-Key` header.
pub trait Idempotency: Send + Sync + 'static {
    const REQUIRED: bool;
    /// What the handler gets of it.
    type Key: Send;

    /// Takes the header's value and what was requested.
    ///
    /// # Errors
    /// When the header is required and missing, or is not a key.
    fn key(header: Option<&str>, payload: &[u8]) -> Result<Self::Key, ApiError>;
}

/// The header is not looked at.
pub struct NotKeyed;

impl Idempotency for NotKeyed {
    const REQUIRED: bool = false;
    type Key = ();

    fn key(_: Option<&str>, _: &[u8]) -> Result<(), ApiError> {
        Ok(())
    }
}

/// The header is required. The handler runs its work with `Request::once`.
pub struct Keyed;

impl Idempotency for Keyed {
    const REQUIRED: bool = true;
    type Key = IdempotencyKey;

    fn key(header: Option<&str>, payload: &[u8]) -> Result<IdempotencyKey, ApiError> {
        IdempotencyKey::new(header, payload)
    }
}

/// Declares an endpoint.
///
/// ```text
/// endpoint! {
///     /// Takes an order back before it ships.
///     OrdersCancel = "orders-cancel" POST "/v1/orders/{id}/cancel" {
///         access: User,
///         path: OrderPath,
///         reply: 200 Order,
///         problems: [NotFound],
///         needs: { mysql: Mysql },
///     }
/// }
/// ```
///
/// `limit`, `idempotency`, `precondition`, `path`, `query`, `body` and `problems` may be left out. A `limit` needs a `limiter`.
///
/// A reply `as` some media types is streamed (see [`crate::lambda::Streaming`]): `reply: 200 Line as ["application/x-ndjson"]`. It needs
/// `callers`, unless its access is `Public`, and takes no `path`.
#[doc(hidden)]
#[macro_export]
macro_rules! endpoint {
    (
        $(#[doc = $summary:literal])+
        $name:ident = $function:literal $method:ident $route:literal {
            access: $access:ident $(<$permission:ty>)?,
            $(limit: $limit:ident,)?
            $(idempotency: $idempotency:ty,)?
            $(precondition: $precondition:ty,)?
            $(path: $path:ty,)?
            $(query: $query:ty,)?
            $(body: $body:ty,)?
            reply: $status:literal $reply:ty $(as [$($media_type:literal),+])?,
            $(problems: [$($problem:ident),* $(,)?],)?
            needs: { $($field:ident: $resource:ty),* $(,)? } $(,)?
        }
    ) => {
        $(#[doc = $summary])+
        pub struct $name;

        $crate::function!($name = $function $crate::endpoint!(@kind $($($media_type)+)?) { $($field: $resource),* });

        impl $crate::contract::Endpoint for $name {
            const METHOD: $crate::contract::Method = $crate::contract::Method::$method;
            const PATH: &'static str = $route;
            const ROUTE_KEY: &'static str = concat!(stringify!($method), " ", $route);
            const SUMMARY: &'static str = concat!($($summary),+);
            const STATUS: u16 = $status;
            const MEDIA_TYPES: &'static [&'static str] = $crate::endpoint!(@media_types $($($media_type)+)?);
            const STREAMED: bool = $crate::endpoint!(@streamed $($($media_type)+)?);
            const PROBLEMS: &'static [$crate::error::Problem] = &[$($($crate::error::Problem::$problem),*)?];
            const LIMIT: Option<$crate::contract::Limit> = $crate::endpoint!(@limit $($limit)?);
            type Access = $access $(<$permission>)?;
            type Idempotency = $crate::endpoint!(@or $crate::contract::NotKeyed $(, $idempotency)?);
            type Precondition = $crate::endpoint!(@or $crate::contract::Unconditional $(, $precondition)?);
            type Path = $crate::endpoint!(@or $crate::contract::NoPath $(, $path)?);
            type Query = $crate::endpoint!(@or $crate::contract::NoQuery $(, $query)?);
            type Body = $crate::endpoint!(@or $crate::contract::NoBody $(, $body)?);
            type Reply = $reply;

            #[allow(unused_variables, reason = "not used where there is no limit")]
            fn limiter(needs: &<Self as $crate::contract::Function>::Needs) -> Option<&$crate::store::Limiter> {
                $crate::endpoint!(@limiter needs $($limit)?)
            }

            #[allow(unused_variables, reason = "not used where the gateway knows who calls, or anybody may")]
            fn callers(needs: &<Self as $crate::contract::Function>::Needs) -> Option<&$crate::auth::Callers> {
                $crate::endpoint!(@callers needs $access $($($media_type)+)?)
            }
        }
    };
    (@kind) => { $crate::lambda::Http };
    (@kind $($media_type:literal)+) => { $crate::lambda::Streaming };
    (@media_types) => { &["application/json"] };
    (@media_types $($media_type:literal)+) => { &[$($media_type),+] };
    (@streamed) => { false };
    (@streamed $($media_type:literal)+) => { true };
    (@callers $needs:ident $access:ident) => { None };
    (@callers $needs:ident Public $($media_type:literal)+) => { None };
    (@callers $needs:ident $access:ident $($media_type:literal)+) => { Some(&$needs.callers) };
    (@limit) => { None };
    (@limit $limit:ident) => { Some($crate::contract::Limit::$limit) };
    (@limiter $needs:ident) => { None };
    (@limiter $needs:ident $limit:ident) => { Some(&$needs.limiter) };
    (@or $default:ty) => { $default };
    (@or $default:ty, $given:ty) => { $given };
}
