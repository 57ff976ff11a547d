//! `tools routes`: every route, who may call it, and the function behind it.

use shared::{api::ROUTES, contract::Access};

pub fn print() {
    for route in ROUTES {
        let access = match route.access {
            Access::Public => "public",
            Access::User => "user",
            Access::Permission(permission) => permission.as_str(),
        };
        println!("{:<32} {:<16} {}", route.route_key, access, route.name);
    }
}
