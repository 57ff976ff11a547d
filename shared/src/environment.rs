//! The environment variables: read here and nowhere else.
//!
//! Which variables a function needs is said by its resources (`contract::Resource::ENVIRONMENT`), and tested against the template.

use std::{fmt, str::FromStr};

/// The Powertools variable with the service's name, set for every function.
pub const SERVICE_NAME: &str = "POWERTOOLS_SERVICE_NAME";
/// The Powertools variable with the least level that is logged: `DEBUG`, `INFO`, `WARN`, `ERROR`.
pub const LOG_LEVEL: &str = "POWERTOOLS_LOG_LEVEL";
/// The Powertools variable with the share of traces, from 0 to 1, of which `DEBUG` is logged.
pub const LOG_SAMPLE_RATE: &str = "POWERTOOLS_LOGGER_SAMPLE_RATE";
/// The Powertools variable with the CloudWatch namespace of what is measured.
pub const METRICS_NAMESPACE: &str = "POWERTOOLS_METRICS_NAMESPACE";
/// The name of this deployment (`local`, `staging`, `prod`); part of every name and of the token issuer.
pub const STAGE: &str = "SOUK_STAGE";
/// Where spans are sent: `off`, `collector`, `cloudwatch`.
pub const TRACES: &str = "SOUK_TRACES";
/// OpenTelemetry's variable with the share of traces, from 0 to 1, whose spans are sent.
pub const TRACES_SAMPLE_RATE: &str = "OTEL_TRACES_SAMPLER_ARG";
/// OpenTelemetry's variable with another address than `SOUK_TRACES` stands for.
pub const TRACES_ENDPOINT: &str = "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT";

/// What every function has in its environment (the template's `Globals`).
pub const COMMON: &[&str] =
    &[SERVICE_NAME, LOG_LEVEL, LOG_SAMPLE_RATE, METRICS_NAMESPACE, STAGE, TRACES, TRACES_SAMPLE_RATE];

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

/// The variable's value, a share from 0 to 1; `default` where it is not set.
///
/// # Errors
/// When it is something else.
pub(crate) fn share(name: &'static str, default: f64) -> Result<f64, ConfigError> {
    let Some(text) = optional(name) else { return Ok(default) };
    let share = text.parse().ok().filter(|share| (0.0..=1.0).contains(share));
    share.ok_or_else(|| ConfigError::invalid(name, "it has to be a number from 0 to 1"))
}

/// How many requests this environment serves at once: one on classic Lambda, more on managed instances.
#[must_use]
pub fn concurrency() -> u32 {
    optional("AWS_LAMBDA_MAX_CONCURRENCY").and_then(|value| value.parse().ok()).unwrap_or(1).max(1)
}
