//! Secrets from Secrets Manager, fetched while the environment starts; those of stores again after a rotation
//! (`store::renewable`).

use std::sync::Arc;

use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, de::DeserializeOwned};

use crate::{aws::Aws, boxed, error::chain};

/// A secret by name or ARN.
#[derive(Clone)]
pub struct Secret {
    aws: Aws,
    id: Arc<str>,
}

/// The secret is unavailable or of an unexpected shape. Never holds the secret's text.
#[derive(Debug, thiserror::Error)]
#[error("secret {id}: {reason}")]
pub struct SecretError {
    id: Arc<str>,
    reason: String,
}

/// A database's credentials, in the shape that RDS, DocumentDB and their rotation functions use.
#[derive(Clone, Deserialize)]
pub struct Credentials {
    pub username: String,
    pub password: SecretString,
}

impl Secret {
    #[must_use]
    pub fn new(aws: &Aws, id: String) -> Self {
        Self { aws: aws.clone(), id: id.into() }
    }

    /// The secret's current value, parsed as JSON. Calls Secrets Manager every time; callers cache the result.
    ///
    /// # Errors
    /// When Secrets Manager refuses or does not answer, or the value is not a `T`.
    pub async fn json<T: DeserializeOwned>(&self) -> Result<T, SecretError> {
        // The parser's message would quote the value.
        let failed = |error: serde_json::Error| self.failed(format!("unexpected shape ({:?})", error.classify()));
        serde_json::from_str(self.text().await?.expose_secret()).map_err(failed)
    }

    #[boxed]
    async fn text(&self) -> Result<SecretString, SecretError> {
        let client = aws_sdk_secretsmanager::Client::new(self.aws.config().await);
        let output = client.get_secret_value().secret_id(&*self.id).send().await;
        let output = output.map_err(|error| self.failed(chain(&error)))?;
        output.secret_string.map(SecretString::from).ok_or_else(|| self.failed("is not text".into()))
    }

    fn failed(&self, reason: String) -> SecretError {
        SecretError { id: Arc::clone(&self.id), reason }
    }
}
