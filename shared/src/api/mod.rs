//! The HTTP API: every endpoint's declaration, and the types of its requests and replies.
//!
//! A new endpoint is declared in the file of its area and named in the list below; the OpenAPI document, the authorizer
//! and the tests take it from there.

pub mod auth;
pub mod export;
pub mod health;
pub mod lab;
pub mod notifications;
mod openapi;
pub mod orders;
pub mod products;
pub mod reports;
pub mod users;

pub use self::openapi::document;
use crate::contract::Route;

/// Calls a macro with every endpoint's type.
#[macro_export]
macro_rules! for_each_endpoint {
    ($macro:ident) => {
        $macro! {
            $crate::api::auth::AuthJwks,
            $crate::api::auth::AuthLogin,
            $crate::api::auth::AuthLogout,
            $crate::api::auth::AuthOtp,
            $crate::api::auth::AuthPasswordChange,
            $crate::api::auth::AuthPasswordForgot,
            $crate::api::auth::AuthPasswordReset,
            $crate::api::auth::AuthRefresh,
            $crate::api::auth::AuthRegister,
            $crate::api::auth::AuthSessionsDelete,
            $crate::api::auth::AuthSessionsList,
            $crate::api::auth::AuthSessionsRevoke,
            $crate::api::auth::AuthVerifyEmail,
            $crate::api::auth::AuthVerifyEmailResend,
            $crate::api::health::Health,
            $crate::api::health::HealthReady,
            $crate::api::lab::LabBlocking,
            $crate::api::lab::LabBreaker,
            $crate::api::lab::LabCache,
            $crate::api::lab::LabCpu,
            $crate::api::lab::LabCrypto,
            $crate::api::lab::LabNonBlocking,
            $crate::api::lab::LabStream,
            $crate::api::notifications::UsersMeNotificationsList,
            $crate::api::notifications::UsersMeNotificationsRead,
            $crate::api::orders::OrdersCancel,
            $crate::api::orders::OrdersGet,
            $crate::api::orders::OrdersList,
            $crate::api::orders::OrdersPlace,
            $crate::api::orders::OrdersReturn,
            $crate::api::orders::OrdersStatus,
            $crate::api::products::ProductsCreate,
            $crate::api::products::ProductsDelete,
            $crate::api::products::ProductsExport,
            $crate::api::products::ProductsGet,
            $crate::api::products::ProductsList,
            $crate::api::products::ProductsStock,
            $crate::api::products::ProductsUpdate,
            $crate::api::reports::ReportsCreate,
            $crate::api::reports::ReportsGet,
            $crate::api::users::UsersDelete,
            $crate::api::users::UsersGet,
            $crate::api::users::UsersList,
            $crate::api::users::UsersMeDelete,
            $crate::api::users::UsersMeGet,
            $crate::api::users::UsersMeUpdate,
            $crate::api::users::UsersRestore,
            $crate::api::users::UsersUpdate,
        }
    };
}

macro_rules! routes {
    ($($endpoint:ty,)+) => { &[$(Route::of::<$endpoint>(),)+] };
}

/// Every route with its access rule: the authorizer's table.
pub const ROUTES: &[Route] = for_each_endpoint!(routes);

/// The route that API Gateway names `route_key`.
#[must_use]
pub fn route(route_key: &str) -> Option<&'static Route> {
    ROUTES.iter().find(|route| route.route_key == route_key)
}

/// A validator: one line of text that is not empty.
fn one_line(text: &str, (): &()) -> garde::Result {
    if text.trim().is_empty() || text.chars().any(char::is_control) {
        Err(garde::Error::new("takes one line of text"))
    } else {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use serde_json::Value;

    use super::*;

    #[test]
    fn names_and_routes_are_unique() {
        let names: HashSet<_> = ROUTES.iter().map(|route| route.name).collect();
        let keys: HashSet<_> = ROUTES.iter().map(|route| route.route_key).collect();
        assert_eq!((names.len(), keys.len()), (ROUTES.len(), ROUTES.len()));
    }

    /// utoipa follows not every rule that serde renames by.
    #[test]
    fn every_member_and_every_parameter_of_a_query_is_in_camel_case() {
        fn names<'a>(value: &'a Value, found: &mut Vec<&'a str>) {
            match value {
                Value::Object(members) => {
                    found.extend(
                        value["properties"]
                            .as_object()
                            .into_iter()
                            .flat_map(|members| members.keys().map(String::as_str)),
                    );
                    found.extend(value["name"].as_str().filter(|_| value["in"] == "query"));
                    members.values().for_each(|value| names(value, found));
                }
                Value::Array(values) => values.iter().for_each(|value| names(value, found)),
                _ => {}
            }
        }
        let document = serde_json::to_value(document()).unwrap();
        let mut found = Vec::new();
        names(&document, &mut found);
        assert!(found.contains(&"minPrice") && found.contains(&"createdAt"));
        let is_camel_case = |name: &&str| {
            name.starts_with(|c: char| c.is_ascii_lowercase()) && name.chars().all(|c| c.is_ascii_alphanumeric())
        };
        found.retain(|name| !is_camel_case(name));
        assert_eq!(found, Vec::<&str>::new());
    }
}
