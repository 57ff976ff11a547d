//! Another OpenID provider is a declaration: its name, and the variables with its issuer, its keys and the client id.

use std::{env, process::Command};

use serde_json::{Value, json};
use shared::{
    ambient::Ambient,
    auth::strategy::{LoginRequest, OpenId, OpenIdProvider, Registry},
    contract::{Resource, ResourceContext},
    environment,
    error::Problem,
};
use tests::{Call, people};

use super::google::{NONCE, claims, setting, token, with};

/// This test's name, to run it alone.
const NAME: &str = "auth::second_provider::a_second_openid_provider_is_a_declaration";

/// A provider of this test only. The stage's issuer signs its tokens, for another client.
struct Bazaar;

impl OpenIdProvider for Bazaar {
    const NAME: &'static str = "bazaar";
    const ENVIRONMENT: &'static [&'static str; 3] =
        &["SOUK_BAZAAR_ISSUER", "SOUK_BAZAAR_JWKS_URL", "SOUK_BAZAAR_CLIENT_ID"];
}

const CLIENT_ID: &str = "souk-at-the-bazaar";

/// A variable is set for a process and not within it, so the test runs itself once more with those of the provider.
fn run_with_its_variables() {
    let [issuer, jwks_url, client_id] = *Bazaar::ENVIRONMENT;
    let output = Command::new(env::current_exe().unwrap())
        .args([NAME, "--exact", "--nocapture"])
        .env(issuer, setting("SOUK_GOOGLE_ISSUER"))
        .env(jwks_url, setting("SOUK_GOOGLE_JWKS_URL"))
        .env(client_id, CLIENT_ID)
        .output()
        .unwrap();
    let text = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success() && text.contains("1 passed"), "{text}");
}

fn request(strategy: &str, claims: &Value) -> LoginRequest {
    let credentials = json!({ "strategy": strategy, "idToken": token(claims), "nonce": NONCE });
    serde_json::from_value(credentials).unwrap()
}

#[tokio::test]
async fn a_second_openid_provider_is_a_declaration() {
    let [issuer, ..] = *Bazaar::ENVIRONMENT;
    if environment::optional(issuer).is_none() {
        let missing = OpenId::<Bazaar>::open(&ResourceContext::system()).err().map(|error| error.to_string());
        assert_eq!(missing.as_deref(), Some("environment variable SOUK_BAZAAR_ISSUER is not set"));
        return run_with_its_variables();
    }
    let (ambient, context) = (Ambient::system(), ResourceContext::system());
    let registry = context.get::<Registry>().unwrap().with(context.get::<OpenId<Bazaar>>().unwrap());

    // The first login makes a customer, the second finds it.
    let (subject, email) = (people::random(), people::new_address());
    let claims = with(&claims(&subject, &email), "aud", json!(CLIENT_ID));
    let first = registry.authenticate(request("bazaar", &claims), &ambient).await.unwrap();
    let second = registry.authenticate(request("bazaar", &claims), &ambient).await.unwrap();
    assert_eq!(first, second);
    let user = Call::get(format!("/v1/users/{}", first.user_id)).token(people::admin()).send().expect(200).json();
    assert_eq!((&user["email"], &user["roles"]), (&json!(email), &json!(["customer"])));

    // A token is for one client: that of the one provider is no token of the other.
    let for_google = with(&claims, "aud", json!(setting("SOUK_GOOGLE_CLIENT_ID")));
    for (strategy, claims) in [
        ("google", &claims),
        ("bazaar", &for_google),
        ("bazaar", &with(&claims, "iss", json!("https://elsewhere.example"))),
        ("bazaar", &with(&claims, "nonce", json!("another"))),
    ] {
        let refused = registry.authenticate(request(strategy, claims), &ambient).await.unwrap_err();
        assert_eq!(refused.problem(), Problem::InvalidCredentials, "{strategy} {claims}");
    }
    // An identity is issuer and subject, whichever declaration verified it.
    let google = registry.authenticate(request("google", &for_google), &ambient).await.unwrap();
    assert_eq!(google.user_id, first.user_id);
    // Where it is not declared, there is no such way to log in.
    let undeclared = context.get::<Registry>().unwrap().authenticate(request("bazaar", &claims), &ambient).await;
    assert_eq!(undeclared.unwrap_err().problem(), Problem::ValidationFailed);
}
