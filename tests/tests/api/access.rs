//! Access control: at the gateway, and again in every function.

use std::sync::LazyLock;

use serde_json::{Value, json};
use shared::{
    ambient::Ambient,
    api::ROUTES,
    contract::{Access, Route},
    identity::{RefreshToken, Role, Roles},
    store::{
        Mongodb,
        mongodb::{
            sessions::{self, NewSession},
            users::{self, NewUser},
        },
    },
};
use tests::{Call, Stage, aws, people, tokens};
use ureq::http::Method;
use uuid::Uuid;

/// The kinds of callers, in the order of the table's columns.
const CALLERS: [&str; 9] =
    ["no token", "garbage", "expired", "customer", "other customer", "staff", "admin", "disabled user", "deleted user"];

/// The status that each of [`CALLERS`] gets from a route. A new endpoint without an entry here fails the test.
fn expected(name: &str) -> [u16; 9] {
    // Any caller, with any token.
    let anybody = |status| [status; 9];
    // The gateway refuses a missing token, the authorizer an invalid, expired or revoked one, or one whose user is
    // gone.
    let user = |status| [401, 403, 403, status, status, status, status, 403, 403];
    let staff = |status| [401, 403, 403, 403, 403, status, status, 403, 403];
    let admin = |status| [401, 403, 403, 403, 403, 403, status, 403, 403];
    // A function URL: the function answers everything itself, so that an invalid token is a 401.
    let staff_streamed = |status| [401, 401, 401, 403, 403, status, status, 403, 403];
    // A resource of the customer does not exist for any other caller.
    let owner = |status| [401, 403, 403, status, 404, 404, 404, 403, 403];
    match name {
        "auth-jwks" | "health" | "health-ready" | "lab-blocking" | "lab-breaker" | "lab-cache" | "lab-cpu"
        | "lab-crypto" | "lab-non-blocking" | "lab-stream" | "products-list" => anybody(200),
        "auth-login"
        | "auth-otp"
        | "auth-password-forgot"
        | "auth-password-reset"
        | "auth-register"
        | "auth-verify-email"
        | "auth-verify-email-resend" => anybody(422),
        "auth-refresh" => anybody(401),
        "products-get" => anybody(404),
        "auth-logout" | "auth-sessions-revoke" | "users-me-delete" => user(204),
        "auth-sessions-list" | "orders-list" | "users-me-get" | "users-me-notifications-list" | "users-me-update" => {
            user(200)
        }
        "auth-password-change" | "orders-place" => user(422),
        "orders-get" | "orders-cancel" | "users-me-notifications-read" => user(404),
        "auth-sessions-delete" => owner(204),
        "orders-status" | "products-create" | "products-stock" | "products-update" | "reports-create" => staff(422),
        "products-export" => staff_streamed(200),
        "orders-return" | "products-delete" | "reports-get" => staff(404),
        "users-list" | "users-get" | "users-update" => admin(200),
        "users-delete" => admin(204),
        "users-restore" => admin(404),
        _ => panic!("{name} has no row in the table of who may call what"),
    }
}

/// The body for a route; by default one that no type accepts.
fn body(name: &str) -> Value {
    match name {
        "auth-refresh" => json!({ "refreshToken": "none" }),
        "users-me-update" => json!({ "profile": {} }),
        "users-update" => json!({ "disabled": false }),
        _ => json!({}),
    }
}

/// A user with a session.
struct Person {
    id: Uuid,
    session_id: Uuid,
    role: Role,
}

impl Person {
    /// Straight into the store: registering would take too long for so many.
    async fn new(mongodb: &Mongodb, role: Role) -> Self {
        let ambient = Ambient::system();
        let person = Self { id: ambient.id(), session_id: ambient.id(), role };
        let user = NewUser {
            id: person.id,
            email: people::new_address().parse().unwrap(),
            email_verified: true,
            password_hash: None,
            identity_key: None,
            roles: Roles(vec![role]),
            now: ambient.now(),
        };
        users::insert(mongodb, &user, None).await.unwrap();
        let session = NewSession {
            id: person.session_id,
            user_id: person.id,
            epoch: 0,
            token: &RefreshToken::new(&ambient),
            network: "127.0.0.1",
            user_agent: "test",
            now: ambient.now(),
        };
        sessions::insert(mongodb, session).await.unwrap();
        person
    }

    fn token(&self) -> String {
        tokens::good(self.id, self.session_id, self.role.as_str())
    }
}

/// A route's method and path, with an id in place of its parameter.
fn call(route_key: &str, id: Uuid) -> Call {
    let (method, path) = route_key.split_once(' ').unwrap();
    // No product follows this id, so that the export is empty.
    let path = path.replace("/export", &format!("/export?after={}", Uuid::max()));
    Call::new(method.parse::<Method>().unwrap(), path.replace("{id}", &id.to_string()))
        .header("if-match", "\"1\"")
        .key(&people::new_key())
}

#[tokio::test]
async fn every_route_answers_everybody_as_the_table_says() {
    let mongodb: Mongodb = Stage::get().resource();
    let (disabled, deleted) =
        (Person::new(&mongodb, Role::Customer).await, Person::new(&mongodb, Role::Customer).await);
    let _ = people::manage(people::admin(), &disabled.id.to_string(), &json!({ "disabled": true })).expect(200);
    let path = format!("/v1/users/{}", deleted.id);
    let _ = Call::new(Method::DELETE, path).token(people::admin()).send().expect(204);

    let mut surprises = Vec::new();
    for route in ROUTES {
        // New for each route, since some routes end the caller's session or account.
        let customer = Person::new(&mongodb, Role::Customer).await;
        let other = Person::new(&mongodb, Role::Customer).await;
        let staff = Person::new(&mongodb, Role::Staff).await;
        let admin = Person::new(&mongodb, Role::Admin).await;
        let target = Person::new(&mongodb, Role::Customer).await;
        let id = if route.name == "auth-sessions-delete" { customer.session_id } else { target.id };
        let expired = tokens::expired(customer.id, customer.session_id, "customer");
        let tokens = [
            None,
            Some("garbage".to_owned()),
            Some(expired),
            Some(customer.token()),
            Some(other.token()),
            Some(staff.token()),
            Some(admin.token()),
            Some(disabled.token()),
            Some(deleted.token()),
        ];
        // The owner comes last, or nothing would be left to refuse the others.
        for column in [0, 1, 2, 4, 5, 6, 7, 8, 3] {
            let call = call(route.route_key, id).json(body(route.name));
            let call = tokens[column].iter().fold(call, |call, token| call.token(token));
            let (status, expected) = (call.send().status, expected(route.name)[column]);
            if status != expected {
                surprises.push(format!("{} as {}: {status}, not {expected}", route.name, CALLERS[column]));
            }
        }
        let _ = Call::new(Method::DELETE, format!("/v1/users/{}", admin.id)).token(people::admin()).send();
    }
    assert_eq!(surprises, Vec::<String>::new());
}

#[test]
fn with_a_token_that_is_none_every_protected_route_refuses() {
    for route in ROUTES.iter().filter(|route| route.access != Access::Public) {
        for header in ["Bearer garbage", "Bearer ", "garbage", "Basic YTpi", "Bearer e30.e30.e30"] {
            let reply = call(route.route_key, Uuid::nil()).header("authorization", header).json("{}").send();
            let expected = if route.streamed { 401 } else { 403 };
            assert_eq!(reply.status, expected, "{} with {header:?}: {reply:?}", route.route_key);
        }
    }
}

/// The reply of a function; a streamed one is converted to the others' form.
fn invoke(route: &Route, event: &Value) -> Value {
    let reply = aws::invoke(route.name, event);
    // To a direct invocation, a streamed reply is bytes: the head, this separator, the body.
    let Some((head, body)) = reply.as_str().and_then(|text| text.split_once("\0\0\0\0\0\0\0\0")) else {
        return reply;
    };
    let mut reply: Value = serde_json::from_str(head).unwrap();
    reply["body"] = json!(body);
    reply
}

#[test]
fn a_function_invoked_past_the_gateway_refuses_a_caller_it_was_not_told_of() {
    for route in ROUTES.iter().filter(|route| route.access != Access::Public) {
        let reply = invoke(route, &aws::http_event(route.route_key, &json!({})));
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
            // Without a gateway its statement about the caller counts for nothing.
            let expected = if route.streamed { 401 } else { expected };
            let reply = invoke(route, &event);
            assert_eq!(reply["statusCode"], expected, "{} as {roles:?}: {reply}", route.name);
        }
    }
}

#[test]
fn an_event_that_is_none_is_refused_and_answered() {
    for route in ROUTES {
        for event in [json!({}), json!([]), json!("x"), json!({ "requestContext": 1 })] {
            let reply = invoke(route, &event);
            assert_eq!(reply["statusCode"], 400, "{} with {event}: {reply}", route.name);
        }
    }
}

/// The customer that all forged tokens name.
fn victim() -> &'static (Uuid, Uuid) {
    static VICTIM: LazyLock<(Uuid, Uuid)> = LazyLock::new(|| {
        let id = people::id_of(&people::log_in(&people::register()));
        (id.parse().unwrap(), Ambient::system().id())
    });
    &VICTIM
}

fn refused(why: &str, token: &str) {
    let reply = Call::get("/v1/users/me").token(token).send();
    assert_eq!(reply.status, 403, "{why}: {reply:?}");
}

#[test]
fn a_token_that_the_tests_make_themselves_is_as_good_as_any() {
    let (user, session) = *victim();
    let _ = Call::get("/v1/users/me").token(&tokens::good(user, session, "customer")).send().expect(200);
}

#[test]
fn the_authorizer_refuses_tokens_with_another_header() {
    let (user, session) = *victim();
    let (key, claims) = (tokens::stage_key(), tokens::claims(user, session, "admin").to_string());
    for (name, value) in [
        ("alg", json!("none")),
        ("alg", json!("None")),
        ("alg", json!("HS256")),
        ("alg", json!("RS256")),
        ("alg", json!("ES256")),
        ("alg", Value::Null),
        ("kid", json!("unknown")),
        ("kid", json!("../../../../dev/null")),
        ("kid", json!("' OR 1=1 --")),
        ("kid", json!("")),
        ("kid", Value::Null),
        ("typ", json!("JWT")),
        ("typ", json!("id+jwt")),
        ("typ", Value::Null),
        ("crit", json!([])),
        ("crit", json!(["exp"])),
        ("crit", json!(["souk"])),
        ("souk", json!(1)),
    ] {
        let mut header = tokens::header();
        header[name] = value.clone();
        refused(&format!("{name}: {value}"), &key.sign(&header.to_string(), &claims));
        if value.is_null() {
            header.as_object_mut().unwrap().remove(name);
            refused(&format!("no {name}"), &key.sign(&header.to_string(), &claims));
        }
    }
    let twice = tokens::header().to_string().replacen('{', "{\"alg\":\"none\",", 1);
    refused("alg twice", &key.sign(&twice, &claims));
}

#[test]
fn the_authorizer_refuses_tokens_that_bring_their_own_key() {
    use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD as BASE64URL};
    use ring::{hmac, signature::KeyPair};

    let (user, session) = *victim();
    let claims = tokens::claims(user, session, "admin").to_string();
    let stranger = tokens::Key::stranger();
    let x = BASE64URL.encode(stranger.pair.public_key());
    let jwk = json!({ "kty": "OKP", "crv": "Ed25519", "alg": "EdDSA", "use": "sig", "kid": stranger.kid, "x": x });
    for (name, value) in
        [("jwk", jwk.clone()), ("jku", json!("http://127.0.0.1:1/jwks")), ("x5u", json!("http://127.0.0.1:1/x"))]
    {
        for kid in [&stranger.kid, &tokens::stage_key().kid] {
            let mut header = tokens::header();
            header["kid"] = json!(kid);
            header[name] = value.clone();
            refused(name, &stranger.sign(&header.to_string(), &claims));
        }
    }
    refused("a stranger's key under our key's id", &stranger.sign(&tokens::header().to_string(), &claims));

    // The public key, used as if it were a shared secret.
    let published = Call::get("/.well-known/jwks.json").send().expect(200).json();
    let ours = published["keys"][0]["x"].as_str().unwrap().to_owned();
    let mut header = tokens::header();
    header["alg"] = json!("HS256");
    let message = format!("{}.{}", BASE64URL.encode(header.to_string()), BASE64URL.encode(&claims));
    for secret in [ours.clone().into_bytes(), BASE64URL.decode(&ours).unwrap()] {
        let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &secret), message.as_bytes());
        refused("HS256 with the public key", &format!("{message}.{}", BASE64URL.encode(tag)));
    }
    refused("alg none without a signature", &{
        header["alg"] = json!("none");
        format!("{}.{}.", BASE64URL.encode(header.to_string()), BASE64URL.encode(&claims))
    });
}

#[test]
fn the_authorizer_refuses_tokens_with_other_claims() {
    let (user, session) = *victim();
    let (key, header, now) = (tokens::stage_key(), tokens::header().to_string(), tokens::now());
    let good = tokens::claims(user, session, "customer");
    for (name, value) in [
        ("iss", json!("souk-prod")),
        ("iss", json!("https://accounts.google.com")),
        ("iss", json!(["souk-local"])),
        ("aud", json!("another-api")),
        ("aud", json!(["another-api"])),
        ("sub", json!("")),
        ("sub", json!({ "$ne": null })),
        ("sid", json!("x")),
        ("gen", json!(-1)),
        ("jti", json!("x")),
        ("roles", json!(["root"])),
        ("roles", json!("admin")),
        ("exp", json!(now - 30)),
        ("exp", json!("never")),
        ("nbf", json!(now + 300)),
    ] {
        let mut claims = good.clone();
        claims[name] = value.clone();
        refused(&format!("{name}: {value}"), &key.sign(&header, &claims.to_string()));
    }
    for name in good.as_object().unwrap().keys() {
        let mut claims = good.clone();
        claims.as_object_mut().unwrap().remove(name);
        refused(&format!("no {name}"), &key.sign(&header, &claims.to_string()));
    }
    for (name, value) in [("roles", json!(["admin"])), ("sub", json!(Uuid::nil())), ("exp", json!(now + 100_000))] {
        let twice = good.to_string().replacen('{', &format!("{{\"{name}\":{value},"), 1);
        refused(&format!("{name} twice"), &key.sign(&header, &twice));
    }
}

#[test]
fn the_authorizer_refuses_tokens_that_were_changed() {
    use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD as BASE64URL};

    let (user, session) = *victim();
    let good = tokens::good(user, session, "customer");
    let parts: Vec<&str> = good.split('.').collect();
    let admin = BASE64URL.encode(tokens::claims(user, session, "admin").to_string());
    for forged in [
        format!("{}.{admin}.{}", parts[0], parts[2]),
        format!("{}.{}.", parts[0], parts[1]),
        format!("{}.{}", parts[0], parts[1]),
        format!("{good}.{}", parts[2]),
        format!("{good}="),
        good.to_uppercase(),
    ] {
        refused("changed", &forged);
    }
}
