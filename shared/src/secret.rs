//! Secrets, fetched from Secrets Manager while the environment starts; those of stores again when they were changed (`store::login`).

use std::sync::Arc;

use secrecy::SecretString;
use serde::{Deserialize, de::DeserializeOwned};

use crate::{aws::Aws, error::chain};

/// A secret by name or ARN.
#[derive(Clone)]
pub struct Secret {
    aws: Aws,
    id: Arc<str>,
}

/// The secret cannot be had, or is not of the shape it should be. Never holds the secret's text.
#[derive(Debug, thiserror::Error)]
#[error("secret {id}: {reason}")]
pub struct SecretError {
    id: Arc<str>,
    reason: String,
}

/// What a database's secret holds, in the shape that RDS, DocumentDB and their rotation functions use.
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

    /// The secret's current value, parsed as JSON. Asks Secrets Manager every time: keep what is made of it.
    ///
    /// # Errors
    /// When Secrets Manager refuses or does not answer, or the value is not a `T`.
    pub async fn json<T: DeserializeOwned>(&self) -> Result<T, SecretError> {
        let failed = |reason: String| SecretError { id: Arc::clone(&self.id), reason };
        let client = aws_sdk_secretsmanager::Client::new(self.aws.config().await);
        // On the heap, as every AWS call here: its future has some 17 kB, which each future around it would have too.
        let output = Box::pin(client.get_secret_value().secret_id(&*self.id).send()).await;
        let output = output.map_err(|error| failed(chain(&error)))?;
        let text = output.secret_string().ok_or_else(|| failed("is not text".into()))?;
        // The parser's message would quote the value.
        serde_json::from_str(text).map_err(|error| failed(format!("unexpected shape ({:?})", error.classify())))
    }
}
