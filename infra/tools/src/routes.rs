//! `tools routes`: every route with its access rule, its rate limit, its function, and whether that streams from a
//! function URL.

use shared::{api::ROUTES, contract::Access};

pub fn print() {
    for route in ROUTES {
        let access = match route.access {
            Access::Public => "public",
            Access::User => "user",
            Access::Permission(permission) => permission.as_str(),
        };
        let limit = route.limit.map_or("-", |limit| limit.as_str());
        let streamed = if route.streamed { " (streamed)" } else { "" };
        println!("{:<34} {:<18} {:<16} {}{streamed}", route.route_key, access, limit, route.name);
    }
}
