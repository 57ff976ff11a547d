//! `tools routes`: every route, who may call it, its rate limit, and the function behind it.

use shared::{api::ROUTES, contract::Access};

pub fn print() {
    for route in ROUTES {
        let access = match route.access {
            Access::Public => "public",
            Access::User => "user",
            Access::Permission(permission) => permission.as_str(),
        };
        let limit = route.limit.map_or("-", |limit| limit.as_str());
        println!("{:<34} {:<16} {:<16} {}", route.route_key, access, limit, route.name);
    }
}
