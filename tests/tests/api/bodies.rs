//! Malformed and hostile bodies: a clear 4xx, from every endpoint with a body.

use serde_json::json;
use shared::contract::Method;
use tests::{Call, Stage, people, schema::Schemas};

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
        for body in [" ", "{", "nul", "{} {}", "{'a': 1}", "\u{feff}{}", "{\"a\":\"\u{1}\"}", &deep, &deep_object] {
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
        let reply = call(&method, &path).body("Application/JSON; charset=utf-8", "null").send();
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
            ["[]", "null", "1e999", "123456789012345678901234567890", "{\"$where\":\"1\"}", "{\"__proto__\":{}}"]
        {
            let reply = call(&method, &path).json(body).send();
            assert!(matches!(reply.status, 400 | 422), "{method} {path} with {body}: {reply:?}");
        }
    }
    let twice = "{\"email\":\"a@example.com\",\"email\":\"b@example.com\",\"password\":\"correct-horse-battery\"}";
    let _ = call("POST", "/v1/auth/register").json(twice).send().expect_problem(422, "validation-failed");
}

#[test]
fn a_role_an_operator_or_a_dotted_name_in_any_body_is_refused() {
    let schemas = Schemas::new(&Stage::get().openapi);
    for (method, path) in operations() {
        // Of a login, each strategy's.
        for schema in schemas.alternatives(schemas.body(&method, &path).unwrap()) {
            let sample = schemas.sample(schema);
            for (name, value) in [
                ("role", json!("admin")),
                ("isDeleted", json!(false)),
                ("_id", json!("x")),
                ("$set", json!({ "roles": ["admin"] })),
                ("profile.roles", json!(["admin"])),
                ("__proto__", json!({})),
            ] {
                let mut body = sample.clone();
                body[name] = value;
                let problem = call(&method, &path).json(&body).send().expect_problem(422, "validation-failed");
                let detail = problem["errors"][0]["detail"].as_str().unwrap();
                assert!(detail.contains("unknown field"), "{method} {path} with {body}: {problem}");
            }
        }
    }
}
