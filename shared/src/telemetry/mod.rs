//! Logs, metrics and traces.
//!
//! None of them holds tokens, passwords, codes or addresses: types that carry them redact them in `Debug`, and
//! dependencies, which may log a whole request below `INFO`, are not logged below it (tests/tests/redaction.rs).

mod log;
mod measurement;
mod trace;
mod traces;

use std::{cell::RefCell, fmt::Write};

use tracing_subscriber::{layer::SubscriberExt, util::SubscriberInitExt};

pub use self::{log::JsonLines, measurement::measure, trace::Trace, traces::Traces};

/// The fields of every log line of one invocation.
#[derive(Clone, Debug, Default)]
pub struct LogContext {
    /// Whether it is the first invocation of its environment.
    pub cold_start: bool,
    pub function_request_id: String,
    pub xray_trace_id: Option<String>,
    /// W3C, 32 hexadecimal digits.
    pub trace_id: String,
}

tokio::task_local! {
    /// Set by the wrapper around each invocation.
    pub(crate) static LOG_CONTEXT: RefCell<LogContext>;
}

/// Starts logging to standard output, from where Lambda takes it to CloudWatch. This or [`init_traced`] is called once.
pub fn init(lines: JsonLines) {
    tracing_subscriber::registry().with(lines).init();
    log_panics();
}

/// Starts logging and tracing. Separate from [`init`], so that a function without traces does not link them.
pub fn init_traced(lines: JsonLines, traces: &Traces) {
    tracing_subscriber::registry().with(lines).with(traces.layer()).init();
    log_panics();
}

fn log_panics() {
    std::panic::set_hook(Box::new(|panic| {
        let message = panic.payload_as_str().unwrap_or("a panic without text");
        let at = panic.location().map(ToString::to_string).unwrap_or_default();
        tracing::error!(at, "panic: {message}");
    }));
}

/// Bytes as lower-case hexadecimal digits.
#[must_use]
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}
