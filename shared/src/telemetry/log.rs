//! Log lines: JSON with the keys of Powertools for AWS Lambda, one line per request at the boundary.
//!
//! Log sampling (`POWERTOOLS_LOGGER_SAMPLE_RATE`): a share of all traces also logs a `DEBUG` line with the duration of
//! every call of a store or a service. The decision goes by the trace id, so a sampled order is logged from the request
//! to the mail.

use std::{
    fmt,
    io::{self, Write},
    str::FromStr,
};

use serde_json::{Map, Value, json};
use time::format_description::well_known::Rfc3339;
use tokio::time::Instant;
use tracing::{
    Event, Level, Metadata, Subscriber,
    field::{Field, Visit},
    level_filters::LevelFilter,
    span::{Attributes, Id},
    subscriber::Interest,
};
use tracing_subscriber::{
    Layer,
    layer::Context,
    registry::{LookupSpan, SpanRef},
};

use super::{LOG_CONTEXT, trace::is_in_share};
use crate::{
    ambient::Ambient,
    environment::{self, ConfigError},
};

/// Writes events to standard output.
pub struct JsonLines {
    ambient: Ambient,
    service: String,
    function_name: String,
    /// The function's own crate.
    crate_name: String,
    level: LevelFilter,
    /// The share of traces that log `DEBUG`.
    sample_rate: f64,
}

/// The start of a span that is logged when it closes.
struct Began(Instant);

impl JsonLines {
    /// Configured by the environment. `function` is the name of its package.
    ///
    /// # Errors
    /// When the sample rate is not a number from 0 to 1.
    pub fn open(function: &str, ambient: Ambient) -> Result<Self, ConfigError> {
        Ok(Self {
            sample_rate: environment::share(environment::LOG_SAMPLE_RATE, 0.0)?,
            ..Self::plain(function, ambient)
        })
    }

    /// Without sampling: for reporting an invalid environment.
    #[must_use]
    pub fn plain(function: &str, ambient: Ambient) -> Self {
        let level = environment::optional(environment::LOG_LEVEL);
        Self {
            ambient,
            service: environment::optional(environment::SERVICE_NAME).unwrap_or_else(|| "souk".into()),
            function_name: environment::optional("AWS_LAMBDA_FUNCTION_NAME").unwrap_or_default(),
            crate_name: function.replace('-', "_"),
            level: level.and_then(|level| LevelFilter::from_str(&level).ok()).unwrap_or(LevelFilter::INFO),
            sample_rate: 0.0,
        }
    }

    /// Whether an event of this kind may be logged, or a span recorded.
    fn is_of_interest(&self, metadata: &Metadata<'_>) -> bool {
        if metadata.is_span() {
            return *metadata.level() <= Level::INFO;
        }
        // Below `INFO` a dependency may log a body, or a header with a token.
        let most = if self.is_own(metadata) { self.most() } else { self.level.min(LevelFilter::INFO) };
        *metadata.level() <= most
    }

    fn is_own(&self, metadata: &Metadata<'_>) -> bool {
        let module = metadata.target().split("::").next().unwrap_or_default();
        module == "shared" || module == self.crate_name
    }

    /// The most verbose level that any invocation logs.
    fn most(&self) -> LevelFilter {
        if self.sample_rate > 0.0 { self.level.max(LevelFilter::DEBUG) } else { self.level }
    }

    /// Whether this invocation logs the level.
    fn is_logged(&self, level: Level) -> bool {
        let is_sampled =
            || LOG_CONTEXT.try_with(|invocation| is_in_share(&invocation.borrow().trace_id, self.sample_rate));
        level <= self.level || level <= self.most() && is_sampled().unwrap_or_default()
    }

    fn write(&self, level: Level, fields: impl FnOnce(&mut Map<String, Value>)) {
        let mut line = Map::new();
        line.insert("level".into(), level.as_str().into());
        line.insert("timestamp".into(), self.ambient.now().format(&Rfc3339).unwrap_or_default().into());
        line.insert("service".into(), self.service.as_str().into());
        line.insert("function_name".into(), self.function_name.as_str().into());
        if self.sample_rate > 0.0 {
            line.insert("sampling_rate".into(), self.sample_rate.into());
        }
        let _ = LOG_CONTEXT.try_with(|invocation| {
            let invocation = invocation.borrow();
            line.insert("cold_start".into(), invocation.cold_start.into());
            line.insert("function_request_id".into(), invocation.function_request_id.as_str().into());
            if let Some(xray) = &invocation.xray_trace_id {
                line.insert("xray_trace_id".into(), xray.as_str().into());
            }
            line.insert("trace_id".into(), invocation.trace_id.as_str().into());
        });
        fields(&mut line);
        // One write per line, so that the lines of threads do not mix. A failed write has nowhere to be reported.
        let _ = io::stdout().lock().write_all(format!("{}\n", Value::Object(line)).as_bytes());
    }
}

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for JsonLines {
    fn register_callsite(&self, metadata: &'static Metadata<'static>) -> Interest {
        if self.is_of_interest(metadata) { Interest::always() } else { Interest::never() }
    }

    fn enabled(&self, metadata: &Metadata<'_>, _: Context<'_, S>) -> bool {
        self.is_of_interest(metadata)
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        // Spans are at `INFO`, whatever the log level.
        Some(self.most().max(LevelFilter::INFO))
    }

    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let level = *event.metadata().level();
        if self.is_logged(level) {
            self.write(level, |line| event.record(&mut Fields(line)));
        }
    }

    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        if self.is_logged(Level::DEBUG)
            && self.is_own(attributes.metadata())
            && let Some(span) = context.span(id)
        {
            span.extensions_mut().insert(Began(Instant::now()));
        }
    }

    fn on_close(&self, id: Id, context: Context<'_, S>) {
        let Some(span) = context.span(&id) else { return };
        let Some(Began(began)) = span.extensions_mut().remove() else { return };
        let latency_ms = began.elapsed().as_secs_f64() * 1e3;
        self.write(Level::DEBUG, |line| {
            line.insert("message".into(), "span".into());
            line.insert("span".into(), span.name().into());
            line.insert("parent".into(), span.parent().as_ref().map(SpanRef::name).into());
            line.insert("latency_ms".into(), latency_ms.into());
        });
    }
}

/// Collects an event's fields.
struct Fields<'a>(&'a mut Map<String, Value>);

impl Visit for Fields<'_> {
    fn record_f64(&mut self, field: &Field, value: f64) {
        self.0.insert(field.name().into(), value.into());
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.0.insert(field.name().into(), value.into());
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.0.insert(field.name().into(), value.into());
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.0.insert(field.name().into(), value.into());
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.0.insert(field.name().into(), value.into());
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.0.insert(field.name().into(), json!(format!("{value:?}")));
    }
}
