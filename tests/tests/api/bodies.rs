//! Bodies that are garbage, or an attack: a clear 4xx, for every endpoint that takes one.

use shared::contract::Method;
use tests::{Call, Stage, people};

/// Every operation that takes a body.
fn operations() -> Vec<(String, String)> {
    let paths = Stage::get().openapi["paths"].as_object().unwrap();
    let with_body = paths.iter().flat_map(|(path, item)| {
        let operations = item.as_object().unwrap().iter().filter(|(_, operation)| operation["requestBody"].is_object());
        operations.map(move |(method, _)| (method.to_uppercase(), path.clone()))
    });
    with_body.collect()
}

fn call(method: &str, path: &str) -> Call {
    Call::new(method.parse().unwrap(), path).token(people::admin()).key(&people::new_key())
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
