//! The declaration of an endpoint, and what the wrapper takes of its resources.

use super::Request;
use crate::{auth::Authenticator, contract::Endpoint, store::Limiter};

/// An endpoint as the wrapper serves it. Implemented by [`crate::endpoint!`].
pub trait HttpEndpoint: Endpoint {
    /// What counts its calls, if it has a limit.
    fn limiter(needs: &Self::Needs) -> Option<&Limiter>;

    /// The account that its limit is counted by, as the request names it: an address, a user's id.
    fn account(request: &Request<Self>) -> Option<String>;

    /// What identifies the caller where no authorizer does: at a function URL, unless anybody may call.
    fn authenticator(needs: &Self::Needs) -> Option<&Authenticator>;
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
/// `limit`, `idempotency`, `precondition`, `path`, `query`, `body` and `problems` may be left out.
///
/// A `limit` needs a `limiter`, and names the account that the wrapper counts by: `limit: Register { account: email }`
/// is the body's `email`, `account: caller` the caller; `account: none` is for a request that names none.
///
/// A reply `as` some media types is streamed (see [`crate::lambda::Streaming`]): `reply: 200 Line as ["application/x-ndjson"]`. It needs
/// `authenticator`, unless its access is `Public`, and takes no `path`.
#[doc(hidden)]
#[macro_export]
macro_rules! endpoint {
    (
        $(#[doc = $summary:literal])+
        $name:ident = $function:literal $method:ident $route:literal {
            access: $access:ident $(<$permission:ty>)?,
            $(limit: $limit:ident { account: $account:ident },)?
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
        }

        impl $crate::lambda::HttpEndpoint for $name {
            #[allow(unused_variables, reason = "not used where there is no limit")]
            fn limiter(needs: &<Self as $crate::contract::Function>::Needs) -> Option<&$crate::store::Limiter> {
                $crate::endpoint!(@limiter needs $($limit)?)
            }

            #[allow(unused_variables, reason = "not used where no account is counted")]
            fn account(request: &$crate::lambda::Request<Self>) -> Option<String> {
                $crate::endpoint!(@account request $($account)?)
            }

            #[allow(unused_variables, reason = "not used where the gateway knows who calls, or anybody may")]
            fn authenticator(needs: &<Self as $crate::contract::Function>::Needs) -> Option<&$crate::auth::Authenticator> {
                $crate::endpoint!(@authenticator needs $access $($($media_type)+)?)
            }
        }
    };
    (@kind) => { $crate::lambda::Http };
    (@kind $($media_type:literal)+) => { $crate::lambda::Streaming };
    (@media_types) => { &["application/json"] };
    (@media_types $($media_type:literal)+) => { &[$($media_type),+] };
    (@streamed) => { false };
    (@streamed $($media_type:literal)+) => { true };
    (@authenticator $needs:ident $access:ident) => { None };
    (@authenticator $needs:ident Public $($media_type:literal)+) => { None };
    (@authenticator $needs:ident $access:ident $($media_type:literal)+) => { Some(&$needs.authenticator) };
    (@limit) => { None };
    (@limit $limit:ident) => { Some($crate::contract::Limit::$limit) };
    (@limiter $needs:ident) => { None };
    (@limiter $needs:ident $limit:ident) => { Some(&$needs.limiter) };
    (@account $request:ident) => { None };
    (@account $request:ident none) => { None };
    (@account $request:ident email) => { Some($request.body.email.key()) };
    (@account $request:ident caller) => { Some($request.caller.user_id.to_string()) };
    (@or $default:ty) => { $default };
    (@or $default:ty, $given:ty) => { $given };
}
