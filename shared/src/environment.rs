//! The environment variables: read here and nowhere else.
//!
//! A function's resources declare its variables (`contract::Resource::requirements`), and a test compares them with the
//! template.

use std::{fmt, str::FromStr};

/// The Powertools variable with the service's name, set for every function.
pub const SERVICE_NAME: &str = "POWERTOOLS_SERVICE_NAME";
/// The Powertools variable with the minimum log level: `DEBUG`, `INFO`, `WARN`, `ERROR`.
pub const LOG_LEVEL: &str = "POWERTOOLS_LOG_LEVEL";
/// The Powertools variable with the share of traces, from 0 to 1, that log `DEBUG`.
pub const LOG_SAMPLE_RATE: &str = "POWERTOOLS_LOGGER_SAMPLE_RATE";
/// The Powertools variable with the CloudWatch namespace of the metrics.
pub const METRICS_NAMESPACE: &str = "POWERTOOLS_METRICS_NAMESPACE";
/// The name of this deployment (`local`, `staging`, `prod`); part of every name and of the token issuer.
pub const STAGE: &str = "SOUK_STAGE";
/// The destination of spans: `off`, `collector`, `cloudwatch`.
pub const TRACES: &str = "SOUK_TRACES";
/// OpenTelemetry's variable with the share of traces, from 0 to 1, whose spans are sent.
pub const TRACES_SAMPLE_RATE: &str = "OTEL_TRACES_SAMPLER_ARG";
/// OpenTelemetry's variable that overrides the address of the destination.
pub const TRACES_ENDPOINT: &str = "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT";

/// The variables of every function (the template's `Globals`).
pub const COMMON: &[&str] =
    &[SERVICE_NAME, LOG_LEVEL, LOG_SAMPLE_RATE, METRICS_NAMESPACE, STAGE, TRACES, TRACES_SAMPLE_RATE];

/// A missing or invalid variable. The function does not start.
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

/// The variable's value, if it is set and not empty.
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

/// The variable's value, a share from 0 to 1; `default` if it is not set.
///
/// # Errors
/// When it is not a number from 0 to 1.
pub(crate) fn share(name: &'static str, default: f64) -> Result<f64, ConfigError> {
    let Some(text) = optional(name) else { return Ok(default) };
    let share = text.parse().ok().filter(|share| (0.0..=1.0).contains(share));
    share.ok_or_else(|| ConfigError::invalid(name, "it has to be a number from 0 to 1"))
}

/// How many requests this environment serves concurrently: one on classic Lambda, more on managed instances.
#[must_use]
pub fn concurrency() -> u32 {
    optional("AWS_LAMBDA_MAX_CONCURRENCY").and_then(|value| value.parse().ok()).unwrap_or(1).max(1)
}
