//! Malformed and hostile bodies: a clear 4xx, from every endpoint with a body.

use serde_json::{Value, json};
use shared::contract::Method;
use tests::{Call, Stage, people};

/// Every operation with a body.
fn operations() -> Vec<(String, String)> {
    let paths = Stage::get().openapi["paths"].as_object().unwrap();
    let with_body = paths.iter().flat_map(|(path, item)| {
        let operations = item.as_object().unwrap().iter().filter(|(_, operation)| operation["requestBody"].is_object());
        operations.map(move |(method, _)| (method.to_uppercase(), path.clone()))
    });
    with_body.collect()
}

fn call(method: &str, path: &str) -> Call {
    let path = path.replace("{id}", &people::new_key());
    let call = Call::new(method.parse().unwrap(), path).token(people::admin());
    call.key(&people::new_key()).header("if-match", "\"1\"")
}

#[test]
fn there_are_operations_with_bodies() {
    assert!(operations().contains(&(Method::POST.as_str().to_owned(), "/v1/orders".to_owned())));
}

#[test]
fn what_is_not_json_is_a_400() {
    let deep = "[".repeat(100_000);
    let deep_object = "{\"a\":".repeat(5000);
    for (method, path) in operations() {
        for body in ["", "{", "nul", "{} {}", "{'a': 1}", "\u{feff}{}", "{\"a\":\"\u{1}\"}", &deep, &deep_object] {
            let reply = call(&method, &path).json(body).send();
            assert!(matches!(reply.status, 400 | 422), "{method} {path} with {body:.20}: {reply:?}");
        }
        let reply = call(&method, &path).body("application/json", vec![b'"', 0xff, 0xfe, b'"']).send();
        assert!(matches!(reply.status, 400 | 422), "{method} {path} with bytes that are not UTF-8: {reply:?}");
    }
}

#[test]
fn another_media_type_is_a_415() {
    for (method, path) in operations() {
        for media_type in ["text/plain", "application/x-www-form-urlencoded", "application/jsonx"] {
            let _ = call(&method, &path).body(media_type, "{}").send().expect_problem(415, "unsupported-media-type");
        }
        let reply = call(&method, &path).body("Application/JSON; charset=utf-8", "{}").send();
        assert_eq!(reply.status, 422, "{method} {path}: {reply:?}");
    }
}

#[test]
fn a_body_over_1_mib_is_a_413() {
    for (method, path) in operations() {
        let body = format!("{{\"a\":\"{}\"}}", "x".repeat(1024 * 1024));
        let _ = call(&method, &path).json(body).send().expect_problem(413, "payload-too-large");
    }
}

#[test]
fn unknown_members_twice_the_same_member_and_other_types_are_a_422() {
    for (method, path) in operations() {
        for body in
            ["{}", "[]", "null", "1e999", "123456789012345678901234567890", "{\"$where\":\"1\"}", "{\"__proto__\":{}}"]
        {
            let reply = call(&method, &path).json(body).send();
            assert!(matches!(reply.status, 400 | 422), "{method} {path} with {body}: {reply:?}");
        }
    }
    let twice = "{\"email\":\"a@example.com\",\"email\":\"b@example.com\",\"password\":\"correct-horse-battery\"}";
    let _ = call("POST", "/v1/auth/register").json(twice).send().expect_problem(422, "validation-failed");
}

/// A body of the right shape for each operation.
fn sample(method: &str, path: &str) -> Value {
    let (email, password) = (people::new_address(), "correct-horse-battery");
    match (method, path) {
        ("POST", "/v1/auth/register") => json!({ "email": email, "password": password }),
        ("POST", "/v1/auth/login") => json!({ "strategy": "email", "email": email, "password": password }),
        ("POST", "/v1/auth/otp" | "/v1/auth/password/forgot" | "/v1/auth/verify-email/resend") => {
            json!({ "email": email })
        }
        ("POST", "/v1/auth/verify-email") => json!({ "code": "00000000000000000000000000" }),
        ("POST", "/v1/auth/refresh") => json!({ "refreshToken": "none" }),
        ("POST", "/v1/auth/password/reset") => json!({ "code": "00000000000000000000000000", "password": password }),
        ("PUT", "/v1/auth/password") => json!({ "currentPassword": password, "newPassword": password }),
        ("PATCH", "/v1/users/me") => json!({ "profile": {} }),
        ("PATCH", "/v1/users/{id}") => json!({ "disabled": false }),
        ("POST", "/v1/products") => {
            json!({ "sku": people::random(), "name": "x", "price": { "amount": 1, "currency": "EUR" }, "stock": 1 })
        }
        ("PATCH", "/v1/orders/{id}/status") => json!({ "status": "confirmed" }),
        ("PATCH", "/v1/products/{id}") => json!({ "name": "x" }),
        ("POST", "/v1/products/{id}/stock") => json!({ "delta": 1, "reason": "x" }),
        ("POST", "/v1/reports") => json!({ "from": "2026-01-01T00:00:00Z", "to": "2026-01-02T00:00:00Z" }),
        ("POST", "/v1/orders") => json!({ "lines": [{ "productId": people::new_key(), "quantity": 1 }] }),
        _ => panic!("no sample of a body for {method} {path}"),
    }
}

#[test]
fn a_role_an_operator_or_a_dotted_name_in_any_body_is_refused() {
    for (method, path) in operations() {
        let mut bodies = vec![sample(&method, &path)];
        if path == "/v1/auth/login" {
            bodies.push(json!({ "strategy": "otp", "challengeId": people::new_key(), "code": "000000" }));
            bodies.push(json!({ "strategy": "google", "idToken": "x", "nonce": "x" }));
        }
        for body in bodies {
            for (name, value) in [
                ("role", json!("admin")),
                ("isDeleted", json!(false)),
                ("_id", json!("x")),
                ("$set", json!({ "roles": ["admin"] })),
                ("profile.roles", json!(["admin"])),
                ("__proto__", json!({})),
            ] {
                let mut body = body.clone();
                body[name] = value;
                let problem = call(&method, &path).json(&body).send().expect_problem(422, "validation-failed");
                let detail = problem["errors"][0]["detail"].as_str().unwrap();
                assert!(detail.contains("unknown field"), "{method} {path} with {body}: {problem}");
            }
        }
    }
}
