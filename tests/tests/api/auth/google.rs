//! Login with an ID token. The stage's issuer stands in for Google: it signs any claims.

use std::thread;

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD as BASE64URL};
use ring::{digest, hmac};
use serde_json::{Value, json};
use shared::environment;
use tests::{
    Call, Reply, Stage,
    people::{self, LoggedIn, PASSWORD},
    tokens,
};
use ureq::http::Method;

/// The client's nonce.
const NONCE: &str = "what-only-the-client-knows";

fn setting(name: &'static str) -> String {
    environment::required(name).expect("the test run's environment")
}

/// The claims about a user whose address the issuer has verified.
fn claims(subject: &str, email: &str) -> Value {
    let now = tokens::now();
    json!({
        "iss": setting("SOUK_GOOGLE_ISSUER"),
        "aud": setting("SOUK_GOOGLE_CLIENT_ID"),
        "sub": subject,
        "nonce": BASE64URL.encode(digest::digest(&digest::SHA256, NONCE.as_bytes())),
        "email": email,
        "email_verified": true,
        "iat": now,
        "exp": now + 600,
    })
}

/// The claims with one of them replaced.
fn with(claims: &Value, name: &str, value: Value) -> Value {
    let mut claims = claims.clone();
    claims[name] = value;
    claims
}

/// A token signed by the issuer.
fn token(claims: &Value) -> String {
    sign(&json!({}), claims, "current")
}

/// A token with another header, or signed with another key (`stranger`). Null removes a member of the header.
fn sign(header: &Value, claims: &Value, key: &str) -> String {
    let url = setting("SOUK_GOOGLE_ISSUER") + "/sign";
    let request = json!({ "header": header, "claims": claims, "key": key }).to_string();
    let reply = Stage::get().agent.post(url).send(request).unwrap().body_mut().read_to_string().unwrap();
    let token = serde_json::from_str::<Value>(&reply).unwrap()["token"].take();
    token.as_str().unwrap_or_else(|| panic!("{reply}")).to_owned()
}

/// A forged token, signed with a public value in place of a shared secret.
fn sign_with_secret(kid: &Value, claims: &Value, secret: &[u8]) -> String {
    let header = json!({ "alg": "HS256", "typ": "JWT", "kid": kid }).to_string();
    let message = format!("{}.{}", BASE64URL.encode(header), BASE64URL.encode(claims.to_string()));
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret), message.as_bytes());
    format!("{message}.{}", BASE64URL.encode(tag))
}

/// The issuer's published keys, as text.
fn published_keys() -> String {
    let reply = Stage::get().agent.get(setting("SOUK_GOOGLE_JWKS_URL")).call();
    reply.unwrap().body_mut().read_to_string().unwrap()
}

fn credentials(token: &str, nonce: &str) -> Value {
    json!({ "strategy": "google", "idToken": token, "nonce": nonce })
}

fn try_log_in(token: &str) -> Reply {
    Call::post("/v1/auth/login").json(credentials(token, NONCE)).send()
}

fn log_in(claims: &Value) -> LoggedIn {
    LoggedIn::of(&try_log_in(&token(claims)).expect(200))
}

fn expect_refused(what: &str, token: &str) {
    let reply = try_log_in(token);
    assert_eq!(reply.status, 401, "{what}: {reply:?}");
    let _ = reply.expect_problem(401, "invalid-credentials");
}

fn profile(logged_in: &LoggedIn) -> Value {
    Call::get("/v1/users/me").token(&logged_in.access_token).send().expect(200).json()
}

#[test]
fn who_comes_for_the_first_time_becomes_a_customer_and_is_known_again_whatever_the_address() {
    let (subject, email) = (people::random(), people::new_address());
    let claims = claims(&subject, &email);
    let first = profile(&log_in(&claims));
    assert_eq!(first["email"], email);
    assert_eq!((&first["emailVerified"], &first["roles"]), (&json!(true), &json!(["customer"])));

    for (name, value) in [
        ("email", json!(email)),
        ("email", json!(people::new_address())),
        ("email", Value::Null),
        ("email_verified", json!(false)),
    ] {
        assert_eq!(profile(&log_in(&with(&claims, name, value)))["id"], first["id"]);
    }
    assert_eq!(profile(&log_in(&claims))["email"], email, "the address stays what it was here");
    let _ = people::try_log_in(&email, PASSWORD).expect_problem(401, "invalid-credentials");
}

#[test]
fn first_logins_in_parallel_make_one_user() {
    let token = token(&claims(&people::random(), &people::new_address()));
    let ids: Vec<String> = thread::scope(|scope| {
        let calls: Vec<_> = (0..5).map(|_| scope.spawn(|| LoggedIn::of(&try_log_in(&token).expect(200)))).collect();
        calls.into_iter().map(|call| people::id_of(&call.join().unwrap().access_token)).collect()
    });
    assert!(ids.iter().all(|id| *id == ids[0]), "{ids:?}");
}

#[test]
fn a_token_that_is_not_for_this_login_now_is_refused() {
    let (now, client_id) = (tokens::now(), setting("SOUK_GOOGLE_CLIENT_ID"));
    let claims = claims(&people::random(), &people::new_address());
    for (name, value) in [
        ("aud", json!("somebody-else.apps.example")),
        ("aud", json!(client_id.to_uppercase())),
        ("aud", json!([])),
        // Another client could have forwarded this one (OpenID Connect Core 1.0, 3.1.3.7, step 3).
        ("aud", json!([client_id, "somebody-else.apps.example"])),
        ("iss", json!("https://accounts.google.com")),
        ("iss", json!(setting("SOUK_GOOGLE_ISSUER") + "/")),
        ("iss", json!([setting("SOUK_GOOGLE_ISSUER")])),
        ("exp", json!(now - 60)),
        ("exp", json!("9999999999")),
        ("exp", json!(-1)),
        ("nbf", json!(now + 60)),
        ("nbf", json!("0")),
        ("iat", json!(now + 60)),
        ("iat", json!("0")),
        ("nonce", json!(NONCE)),
        ("nonce", json!("")),
        ("sub", json!(["a", "b"])),
        ("sub", json!("")),
    ] {
        let what = format!("{name} = {value}");
        expect_refused(&what, &token(&with(&claims, name, value)));
    }
    for name in ["aud", "exp", "iat", "iss", "nonce", "sub"] {
        let mut without = claims.clone();
        without.as_object_mut().unwrap().remove(name);
        expect_refused(&format!("no {name}"), &token(&without));
        expect_refused(&format!("{name} = null"), &token(&with(&claims, name, Value::Null)));
    }
    let token = token(&claims);
    for nonce in ["", "what-only-another-client-knows"] {
        let reply = Call::post("/v1/auth/login").json(credentials(&token, nonce)).send();
        let _ = reply.expect_problem(401, "invalid-credentials");
    }
    // The unchanged token is valid.
    let _ = try_log_in(&token).expect(200);
}

#[test]
fn a_token_that_the_issuer_has_not_signed_is_refused() {
    let claims = claims(&people::random(), &people::new_address());
    let jwks = published_keys();
    let key = serde_json::from_str::<Value>(&jwks).unwrap()["keys"][0].take();
    let (kid, modulus) = (&key["kid"], key["n"].as_str().unwrap());

    let good = token(&claims);
    let (message, signature) = good.rsplit_once('.').unwrap();
    let (header, payload) = message.split_once('.').unwrap();
    let other = token(&with(&claims, "sub", json!(people::random())));
    let other_payload = other.split('.').nth(1).unwrap();
    let with_algorithm = |name: &str| sign(&json!({ "alg": name }), &claims, "current");
    let unsigned = with_algorithm("none");
    for (what, token) in [
        ("a stranger's key under the issuer's id", sign(&json!({ "kid": kid }), &claims, "stranger")),
        ("a stranger's key under its own id", sign(&json!({}), &claims, "stranger")),
        ("no key id", sign(&json!({ "kid": null }), &claims, "current")),
        ("algorithm none", unsigned.clone()),
        ("algorithm none, unsigned", format!("{}.", unsigned.rsplit_once('.').unwrap().0)),
        ("algorithm HS256", with_algorithm("HS256")),
        ("algorithm RS512", with_algorithm("RS512")),
        ("algorithm PS256", with_algorithm("PS256")),
        ("algorithm EdDSA", with_algorithm("EdDSA")),
        ("algorithm unheard of", with_algorithm("XY256")),
        ("the type of an access token", sign(&json!({ "typ": "at+jwt" }), &claims, "current")),
        ("something critical", sign(&json!({ "crit": ["exp"] }), &claims, "current")),
        ("nothing critical", sign(&json!({ "crit": [] }), &claims, "current")),
        ("a member that no header needs", sign(&json!({ "souk": 1 }), &claims, "current")),
        ("the modulus as a secret", sign_with_secret(kid, &claims, &BASE64URL.decode(modulus).unwrap())),
        ("the modulus's text as a secret", sign_with_secret(kid, &claims, modulus.as_bytes())),
        ("the key as a secret", sign_with_secret(kid, &claims, key.to_string().as_bytes())),
        ("the key set as a secret", sign_with_secret(kid, &claims, jwks.as_bytes())),
        ("nothing as a secret", sign_with_secret(kid, &claims, b"")),
        ("another token's claims", format!("{header}.{other_payload}.{signature}")),
        ("another token's signature", format!("{message}.{}", other.rsplit_once('.').unwrap().1)),
        ("no signature", format!("{message}.")),
        ("only two parts", message.to_owned()),
        ("four parts", format!("{good}.{payload}")),
        ("nothing", String::new()),
        ("garbage", "garbage".to_owned()),
        ("an access token", people::customer().to_owned()),
    ] {
        expect_refused(what, &token);
    }
    let _ = try_log_in(&good).expect(200);
}

#[test]
fn an_address_that_the_issuer_has_not_verified_opens_no_account_and_makes_none() {
    let (subject, email) = (people::random(), people::register());
    for email in [email.clone(), people::new_address()] {
        let claims = claims(&subject, &email);
        for flag in [json!(false), json!("false"), json!("TRUE "), json!(1), Value::Null] {
            let what = format!("email_verified = {flag}");
            expect_refused(&what, &token(&with(&claims, "email_verified", flag)));
        }
        let mut without = claims;
        without.as_object_mut().unwrap().remove("email_verified");
        expect_refused("no email_verified", &token(&without));
    }
    let mut without = claims(&subject, &email);
    without.as_object_mut().unwrap().remove("email");
    expect_refused("no email", &token(&without));

    // Nothing was linked: with an address of its own the same identity is another user, and the password is unchanged.
    let account = people::id_of(&people::log_in(&email));
    let stranger = log_in(&claims(&subject, &people::new_address()));
    assert_ne!(people::id_of(&stranger.access_token), account);
}

#[test]
fn a_verified_address_links_the_identity_to_the_account_that_has_it() {
    let email = people::register();
    let code = people::mailed_code(&email, "Your verification code");
    let _ = Call::post("/v1/auth/verify-email").json(json!({ "code": code })).send().expect(204);
    let by_password = people::begin_session(&email);
    let id = people::id_of(&by_password.access_token);

    let subject = people::random();
    let by_identity = log_in(&claims(&subject, &email.to_uppercase()));
    assert_eq!(people::id_of(&by_identity.access_token), id);
    assert_eq!(people::id_of(&log_in(&claims(&subject, &people::new_address())).access_token), id);

    // The owner registered the address: no session ends.
    assert!(people::is_let_in(&by_password.access_token));
    let _ = people::refresh(&by_password.refresh_token).expect(200);
    let _ = people::begin_session(&email);
}

/// Account pre-hijacking: an attacker registers an address before its owner does.
#[test]
fn who_registered_an_address_and_never_verified_it_loses_it_to_its_owner() {
    let email = people::register();
    let registrant = people::begin_session(&email);
    let before = profile(&registrant);
    assert_eq!(before["emailVerified"], false);

    let claims = claims(&people::random(), &email);
    let owner = log_in(&claims);
    let after = profile(&owner);
    assert_eq!((&after["id"], &after["emailVerified"]), (&before["id"], &json!(true)), "{after}");

    let _ = people::try_log_in(&email, PASSWORD).expect_problem(401, "invalid-credentials");
    let _ = people::refresh(&registrant.refresh_token).expect_problem(401, "invalid-refresh-token");
    people::wait_until_refused(&registrant.access_token);
    let _ = people::refresh(&owner.refresh_token).expect(200);
    assert_eq!(profile(&log_in(&claims))["id"], before["id"]);
}

#[test]
fn a_disabled_user_is_not_let_in_by_the_issuer_either() {
    let (subject, email) = (people::random(), people::new_address());
    let claims = claims(&subject, &email);
    let id = people::id_of(&log_in(&claims).access_token);
    let _ = people::manage(people::admin(), &id, &json!({ "disabled": true })).expect(200);
    expect_refused("a disabled user", &token(&claims));
    expect_refused("a disabled user's address", &token(&with(&claims, "sub", json!(people::random()))));

    let _ = people::manage(people::admin(), &id, &json!({ "disabled": false })).expect(200);
    assert_eq!(people::id_of(&log_in(&claims).access_token), id);
}

#[test]
fn who_comes_back_after_the_account_was_deleted_is_a_new_user() {
    let email = people::new_address();
    let claims = claims(&people::random(), &email);
    let first = log_in(&claims);
    let id = people::id_of(&first.access_token);
    let _ = Call::new(Method::DELETE, "/v1/users/me").token(&first.access_token).send().expect(204);

    let second = profile(&log_in(&claims));
    assert_ne!(second["id"], id);
    assert_eq!((&second["email"], &second["emailVerified"]), (&json!(email), &json!(true)));
}
