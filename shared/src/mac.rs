//! Message authentication codes of values that clients send back: login codes and list cursors.
//!
//! HMAC-SHA256 (RFC 2104). Domain separation: the purpose is the first part of every message, so that a tag for one
//! purpose is invalid for another.

use std::sync::Arc;

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD as BASE64URL};
use ring::hmac;
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use tokio::sync::OnceCell;

use crate::{
    contract::{Grant, Requirements, Resource, ResourceContext, Target},
    environment::{self, ConfigError},
    error::ApiError,
    secret::Secret,
};

const SECRET: &str = "SOUK_MAC_SECRET";

/// The key, fetched at first use.
#[derive(Clone)]
pub struct MacKey {
    secret: Secret,
    key: Arc<OnceCell<hmac::Key>>,
}

#[derive(Deserialize)]
struct KeyDocument {
    /// 32 random bytes, base64url.
    key: SecretString,
}

impl Resource for MacKey {
    fn requirements() -> Vec<Requirements> {
        vec![Requirements {
            environment: &[SECRET],
            grants: &[Grant { action: "secretsmanager:GetSecretValue", target: Target::Secret("mac-key") }],
        }]
    }

    fn open(context: &ResourceContext) -> Result<Self, ConfigError> {
        Ok(Self { secret: Secret::new(&context.aws, environment::required(SECRET)?), key: Arc::default() })
    }

    async fn warm(&self) {
        if let Err(error) = self.key().await {
            tracing::warn!(%error, "the MAC key is not available yet");
        }
    }
}

impl MacKey {
    /// The tag of a message.
    ///
    /// # Errors
    /// When the key is not available.
    pub async fn tag(&self, purpose: &str, parts: &[&[u8]]) -> Result<Vec<u8>, ApiError> {
        Ok(hmac::sign(self.key().await?, &message(purpose, parts)).as_ref().to_vec())
    }

    /// Whether the tag belongs to the message. Compares in constant time.
    ///
    /// # Errors
    /// When the key is not available.
    pub async fn verify(&self, purpose: &str, parts: &[&[u8]], tag: &[u8]) -> Result<bool, ApiError> {
        Ok(hmac::verify(self.key().await?, &message(purpose, parts), tag).is_ok())
    }

    async fn key(&self) -> Result<&hmac::Key, ApiError> {
        self.key
            .get_or_try_init(async || {
                let KeyDocument { key } = self.secret.json().await.map_err(ApiError::unavailable)?;
                let bytes = BASE64URL
                    .decode(key.expose_secret())
                    .map_err(|_| ApiError::internal("the MAC key is not base64url"))?;
                Ok(hmac::Key::new(hmac::HMAC_SHA256, &bytes))
            })
            .await
    }
}

/// Length prefixes: no two lists of parts make the same message.
fn message(purpose: &str, parts: &[&[u8]]) -> Vec<u8> {
    let mut message = Vec::new();
    for part in [purpose.as_bytes()].iter().chain(parts) {
        message.extend(part.len().to_be_bytes());
        message.extend(*part);
    }
    message
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_of_different_parts_differ() {
        assert_ne!(message("a", &[b"bc", b"d"]), message("a", &[b"b", b"cd"]));
        assert_ne!(message("a", &[b"b"]), message("ab", &[]));
    }
}
