//! The environment variables: read here and nowhere else.
//!
//! Which variables a function needs is said by its resources (`contract::Resource::ENVIRONMENT`), and tested against the template.

use std::{fmt, str::FromStr};

/// The Powertools variable with the service's name, set for every function.
pub const SERVICE_NAME: &str = "POWERTOOLS_SERVICE_NAME";
/// The Powertools variable with the least level that is logged: `DEBUG`, `INFO`, `WARN`, `ERROR`.
pub const LOG_LEVEL: &str = "POWERTOOLS_LOG_LEVEL";
/// The Powertools variable with the CloudWatch namespace of what is measured.
pub const METRICS_NAMESPACE: &str = "POWERTOOLS_METRICS_NAMESPACE";
/// The name of this deployment (`local`, `staging`, `prod`); part of every name and of the token issuer.
pub const STAGE: &str = "SOUK_STAGE";

/// What every function has in its environment (the template's `Globals`).
pub const COMMON: &[&str] = &[SERVICE_NAME, LOG_LEVEL, METRICS_NAMESPACE, STAGE];

/// A variable that is missing or cannot be used. The function does not start.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    #[error("environment variable {0} is not set")]
    Missing(&'static str),
    #[error("environment variable {name} is not valid: {reason}")]
    Invalid { name: &'static str, reason: String },
}

impl ConfigError {
    pub(crate) fn invalid(name: &'static str, reason: impl fmt::Display) -> Self {
        Self::Invalid { name, reason: reason.to_string() }
    }
}

/// The variable's value.
///
/// # Errors
/// When it is not set, is empty, or is not UTF-8.
pub fn required(name: &'static str) -> Result<String, ConfigError> {
    optional(name).ok_or(ConfigError::Missing(name))
}

/// The variable's value, if it is set to something.
#[must_use]
#[expect(clippy::disallowed_methods, reason = "the one place that reads the environment")]
pub fn optional(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// The variable's value, parsed.
///
/// # Errors
/// When it is not set or does not parse.
pub fn parsed<T: FromStr<Err: fmt::Display>>(name: &'static str) -> Result<T, ConfigError> {
    required(name)?.parse().map_err(|error| ConfigError::invalid(name, error))
}

/// How many requests this environment serves at once: one on classic Lambda, more on managed instances.
#[must_use]
pub fn concurrency() -> u32 {
    optional("AWS_LAMBDA_MAX_CONCURRENCY").and_then(|value| value.parse().ok()).unwrap_or(1).max(1)
}
