//! Access tokens made by the tests: valid ones with the stage's own key, and invalid ones of every kind.

use std::sync::LazyLock;

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD as BASE64URL};
use ring::signature::Ed25519KeyPair;
use serde_json::{Value, json};
use shared::auth::keys::SigningKeyDocument;
use uuid::Uuid;

use crate::aws;

/// A signing key and its id.
pub struct Key {
    pub kid: String,
    pub pair: Ed25519KeyPair,
}

/// The stage's signing key.
///
/// # Panics
/// When the secret has another shape.
#[must_use]
pub fn stage_key() -> &'static Key {
    static KEY: LazyLock<Key> = LazyLock::new(|| {
        let id = shared::environment::required("SOUK_TOKEN_SIGNING_SECRET").unwrap();
        let reply = aws::json_call("secretsmanager", "secretsmanager.GetSecretValue", &json!({ "SecretId": id }));
        Key::of(&serde_json::from_str(reply["SecretString"].as_str().unwrap()).unwrap())
    });
    &KEY
}

impl Key {
    /// A key that no verifier trusts.
    #[must_use]
    pub fn stranger() -> Self {
        Self::of(&shared::auth::keys::generate().0)
    }

    fn of(document: &SigningKeyDocument) -> Self {
        let der = BASE64URL.decode(&document.private_key).unwrap();
        Self { kid: document.kid.clone(), pair: Ed25519KeyPair::from_pkcs8(&der).unwrap() }
    }

    /// Signs any header and claims.
    #[must_use]
    pub fn sign(&self, header: &str, claims: &str) -> String {
        let message = format!("{}.{}", BASE64URL.encode(header), BASE64URL.encode(claims));
        let signature = BASE64URL.encode(self.pair.sign(message.as_bytes()));
        format!("{message}.{signature}")
    }
}

/// The header of a valid token.
#[must_use]
pub fn header() -> Value {
    json!({ "typ": "at+jwt", "alg": "EdDSA", "kid": stage_key().kid })
}

/// The claims of a valid token, issued now.
#[must_use]
pub fn claims(user_id: Uuid, session_id: Uuid, roles: &str) -> Value {
    let now = now();
    json!({
        "iss": "souk-local", "aud": "souk-api", "sub": user_id, "sid": session_id, "gen": 0, "jti": id(),
        "roles": [roles], "iat": now, "nbf": now, "exp": now + 600,
    })
}

/// A valid token.
#[must_use]
pub fn good(user_id: Uuid, session_id: Uuid, roles: &str) -> String {
    stage_key().sign(&header().to_string(), &claims(user_id, session_id, roles).to_string())
}

/// A token that expired a minute ago.
#[must_use]
pub fn expired(user_id: Uuid, session_id: Uuid, roles: &str) -> String {
    let (mut claims, then) = (claims(user_id, session_id, roles), now() - 660);
    for (name, value) in [("iat", then), ("nbf", then), ("exp", then + 600)] {
        claims[name] = json!(value);
    }
    stage_key().sign(&header().to_string(), &claims.to_string())
}

/// A new id.
#[must_use]
pub fn id() -> Uuid {
    shared::ambient::Ambient::system().id()
}

/// Seconds since 1970.
#[must_use]
pub fn now() -> i64 {
    shared::ambient::Ambient::system().now().unix_timestamp()
}
