//! Ed25519 keys for access tokens: their generation, form and ids.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD as BASE64URL};
use ring::{
    rand::SystemRandom,
    signature::{Ed25519KeyPair, KeyPair as _},
};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{
    contract::{Requirements, Resource, ResourceContext},
    environment::{self, ConfigError},
};

/// The environment variable with the public keys.
pub(super) const PUBLIC_KEYS: &str = "SOUK_TOKEN_PUBLIC_KEYS";

/// The private key, as stored in the secret `souk/STAGE/token-signing-key`.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SigningKeyDocument {
    /// The key id in a token's header.
    pub kid: String,
    /// PKCS #8 version 2 (RFC 5958), base64url.
    pub private_key: String,
}

/// The public keys as a JWK set (RFC 7517): in the authorizer's environment, and at `/.well-known/jwks.json`.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct KeySet {
    pub keys: Vec<PublicKey>,
}

impl Resource for KeySet {
    fn requirements() -> Vec<Requirements> {
        vec![Requirements { environment: &[PUBLIC_KEYS], grants: &[] }]
    }

    fn open(_: &ResourceContext) -> Result<Self, ConfigError> {
        serde_json::from_str(&environment::required(PUBLIC_KEYS)?)
            .map_err(|error| ConfigError::invalid(PUBLIC_KEYS, error))
    }
}

/// One Ed25519 public key (RFC 8037).
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct PublicKey {
    pub kty: String,
    pub crv: String,
    #[serde(rename = "use")]
    pub usage: String,
    pub alg: String,
    pub kid: String,
    /// The key's 32 bytes, base64url.
    pub x: String,
}

/// Generates a key. Its id is a prefix of the public key, so that ids are unique.
///
/// # Panics
/// When the operating system has no random generator.
#[must_use]
pub fn generate() -> (SigningKeyDocument, PublicKey) {
    let document = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).expect("the system has a random generator");
    let pair = Ed25519KeyPair::from_pkcs8(document.as_ref()).expect("a new key is valid");
    let x = BASE64URL.encode(pair.public_key());
    let kid = x[..12].to_owned();
    let public = PublicKey {
        kty: "OKP".into(),
        crv: "Ed25519".into(),
        usage: "sig".into(),
        alg: "EdDSA".into(),
        kid: kid.clone(),
        x,
    };
    (SigningKeyDocument { kid, private_key: BASE64URL.encode(document) }, public)
}
