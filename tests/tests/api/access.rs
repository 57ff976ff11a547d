//! Who may call what: at the gateway, and again in every function.

use serde_json::json;
use shared::{api::ROUTES, contract::Access};
use tests::{Call, aws, people};
use ureq::http::Method;

/// A route's method and path, with an id where there has to be one.
fn call(route_key: &str) -> Call {
    let (method, path) = route_key.split_once(' ').unwrap();
    let path = path.replace("{id}", "00000000-0000-0000-0000-000000000000");
    Call::new(method.parse::<Method>().unwrap(), path)
}

#[test]
fn without_a_token_every_protected_route_answers_401() {
    for route in ROUTES.iter().filter(|route| route.access != Access::Public) {
        let reply = call(route.route_key).json("{}").send();
        assert_eq!(reply.status, 401, "{}: {reply:?}", route.route_key);
    }
}

#[test]
fn with_a_token_that_is_none_every_protected_route_answers_403() {
    for route in ROUTES.iter().filter(|route| route.access != Access::Public) {
        for header in ["Bearer garbage", "Bearer ", "garbage", "Basic YTpi", "Bearer e30.e30.e30"] {
            let reply = call(route.route_key).header("authorization", header).json("{}").send();
            assert_eq!(reply.status, 403, "{} with {header:?}: {reply:?}", route.route_key);
        }
    }
}

#[test]
fn a_customer_may_not_call_what_asks_for_a_permission() {
    for route in ROUTES.iter().filter(|route| matches!(route.access, Access::Permission(_))) {
        let reply = call(route.route_key).token(people::customer()).json("{}").send();
        assert_eq!(reply.status, 403, "{}: {reply:?}", route.route_key);
    }
}

#[test]
fn a_function_invoked_past_the_gateway_refuses_a_caller_it_was_not_told_of() {
    for route in ROUTES.iter().filter(|route| route.access != Access::Public) {
        let reply = aws::invoke(route.name, &aws::http_event(route.route_key, &json!({})));
        assert_eq!(reply["statusCode"], 401, "{}: {reply}", route.name);
        assert!(reply["body"].as_str().unwrap().contains("urn:souk:problem:unauthenticated"), "{reply}");
    }
}

#[test]
fn a_function_invoked_past_the_gateway_asks_for_the_permission_again() {
    let roles_and_answers = [("customer", 403), ("root", 401), ("", 401)];
    for route in ROUTES.iter().filter(|route| matches!(route.access, Access::Permission(_))) {
        for (roles, expected) in roles_and_answers {
            let mut event = aws::http_event(route.route_key, &json!({}));
            let id = "018f0000-0000-7000-8000-000000000000";
            event["requestContext"]["authorizer"] = json!({ "lambda": { "sub": id, "sid": id, "roles": roles } });
            let reply = aws::invoke(route.name, &event);
            assert_eq!(reply["statusCode"], expected, "{} as {roles:?}: {reply}", route.name);
        }
    }
}

#[test]
fn an_event_that_is_none_is_refused_and_answered() {
    for route in ROUTES {
        for event in [json!({}), json!([]), json!("x"), json!({ "requestContext": 1 })] {
            let reply = aws::invoke(route.name, &event);
            assert_eq!(reply["statusCode"], 400, "{} with {event}: {reply}", route.name);
        }
    }
}
