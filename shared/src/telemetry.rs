//! Logs and trace context.
//!
//! A function writes JSON lines with the keys of Powertools for AWS Lambda, one of them per request at the boundary. Logs never
//! hold tokens, passwords, codes or addresses: types that carry them hide them in their `Debug` form.

use std::{
    cell::RefCell,
    fmt::{self, Write as _},
    str::FromStr,
};

use serde_json::{Map, Value, json};
use time::format_description::well_known::Rfc3339;
use tracing::{
    Event, Subscriber,
    field::{Field, Visit},
    level_filters::LevelFilter,
};
use tracing_subscriber::{
    fmt::{
        FmtContext, FormatEvent, FormatFields,
        format::{DefaultFields, Writer},
    },
    registry::LookupSpan,
};

use crate::{ambient::Ambient, environment};

/// A position in a trace (W3C Trace Context).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trace {
    /// 32 hexadecimal digits, the same from the request to the last consumer.
    trace_id: String,
    /// 16 hexadecimal digits: who continues it.
    parent_id: String,
}

impl Trace {
    /// The trace that a request belongs to: its `traceparent` if it is a valid one, else X-Ray's, else a new one.
    #[must_use]
    pub fn of(traceparent: Option<&str>, xray: Option<&str>, ambient: &Ambient) -> Self {
        traceparent
            .and_then(Self::parse)
            .or_else(|| xray.and_then(Self::from_xray))
            .unwrap_or_else(|| Self { trace_id: hex(&ambient.bytes::<16>()), parent_id: hex(&ambient.bytes::<8>()) })
    }

    /// The header's value, version 00, sampled.
    #[must_use]
    pub fn traceparent(&self) -> String {
        format!("00-{}-{}-01", self.trace_id, self.parent_id)
    }

    #[must_use]
    pub fn trace_id(&self) -> &str {
        &self.trace_id
    }

    fn parse(header: &str) -> Option<Self> {
        let mut parts = header.split('-');
        let (version, trace_id, parent_id) = (parts.next()?, parts.next()?, parts.next()?);
        (version.len() == 2 && version != "ff").then_some(())?;
        Self::new(trace_id, parent_id)
    }

    /// X-Ray's header has the same trace id in two parts: `Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8`.
    fn from_xray(header: &str) -> Option<Self> {
        let part = |name: &str| header.split(';').find_map(|part| part.trim().strip_prefix(name)?.strip_prefix('='));
        let root = part("Root")?.strip_prefix("1-")?.replace('-', "");
        Self::new(&root, part("Parent")?)
    }

    fn new(trace_id: &str, parent_id: &str) -> Option<Self> {
        let valid = |text: &str, length| {
            text.len() == length
                && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
                && text.bytes().any(|byte| byte != b'0')
        };
        (valid(trace_id, 32) && valid(parent_id, 16))
            .then(|| Self { trace_id: trace_id.to_owned(), parent_id: parent_id.to_owned() })
    }
}

/// Bytes as lower-case hexadecimal digits.
#[must_use]
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// What every log line of one invocation says.
#[derive(Clone, Debug, Default)]
pub struct Invocation {
    /// Whether it is the first one of its environment.
    pub cold_start: bool,
    pub function_request_id: String,
    pub xray_trace_id: Option<String>,
    /// W3C, 32 hexadecimal digits.
    pub trace_id: String,
}

tokio::task_local! {
    /// Set by the wrapper around each invocation.
    pub(crate) static INVOCATION: RefCell<Invocation>;
}

/// Starts logging to standard output, from where Lambda takes it to CloudWatch. Call it once.
pub fn init(ambient: Ambient) {
    let level = environment::optional(environment::LOG_LEVEL);
    let level = level.and_then(|level| LevelFilter::from_str(&level.to_lowercase()).ok()).unwrap_or(LevelFilter::INFO);
    let format = JsonLines {
        ambient,
        service: environment::optional(environment::SERVICE_NAME).unwrap_or_else(|| "souk".into()),
        function_name: environment::optional("AWS_LAMBDA_FUNCTION_NAME").unwrap_or_default(),
    };
    tracing_subscriber::fmt().with_max_level(level).fmt_fields(DefaultFields::new()).event_format(format).init();
    std::panic::set_hook(Box::new(|panic| {
        let message = panic.payload_as_str().unwrap_or("a panic without text");
        let at = panic.location().map(ToString::to_string).unwrap_or_default();
        tracing::error!(at, "panic: {message}");
    }));
}

/// Measures something: one line in CloudWatch's embedded metric format, by deployment (dimension `stage`). CloudWatch makes the
/// metric of it; nothing is called.
pub fn measure(name: &str, unit: &str, value: f64, ambient: &Ambient) {
    let namespace = environment::optional(environment::METRICS_NAMESPACE).unwrap_or_else(|| "souk".into());
    let stage = environment::optional(environment::STAGE).unwrap_or_default();
    println!("{}", metric(&namespace, &stage, (name, unit, value), ambient));
}

fn metric(namespace: &str, stage: &str, (name, unit, value): (&str, &str, f64), ambient: &Ambient) -> Value {
    json!({
        "_aws": {
            "Timestamp": u64::try_from(ambient.now().unix_timestamp_nanos() / 1_000_000).unwrap_or_default(),
            "CloudWatchMetrics": [{
                "Namespace": namespace,
                "Dimensions": [["stage"]],
                "Metrics": [{ "Name": name, "Unit": unit }],
            }],
        },
        "stage": stage,
        name: value,
    })
}

/// Writes an event as one line of JSON.
struct JsonLines {
    ambient: Ambient,
    service: String,
    function_name: String,
}

impl<S> FormatEvent<S, DefaultFields> for JsonLines
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    DefaultFields: for<'writer> FormatFields<'writer>,
{
    fn format_event(
        &self,
        _: &FmtContext<'_, S, DefaultFields>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let mut line = Map::new();
        line.insert("level".into(), event.metadata().level().as_str().into());
        line.insert("timestamp".into(), self.ambient.now().format(&Rfc3339).map_err(|_| fmt::Error)?.into());
        line.insert("service".into(), self.service.as_str().into());
        line.insert("function_name".into(), self.function_name.as_str().into());
        let _ = INVOCATION.try_with(|invocation| {
            let invocation = invocation.borrow();
            line.insert("cold_start".into(), invocation.cold_start.into());
            line.insert("function_request_id".into(), invocation.function_request_id.as_str().into());
            if let Some(xray) = &invocation.xray_trace_id {
                line.insert("xray_trace_id".into(), xray.as_str().into());
            }
            line.insert("trace_id".into(), invocation.trace_id.as_str().into());
        });
        event.record(&mut Fields(&mut line));
        writeln!(writer, "{}", Value::Object(line))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trace_is_taken_from_the_caller_then_from_xray_then_made() {
        let ambient = Ambient::system();
        let w3c = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        let xray = "Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=1";
        assert_eq!(Trace::of(Some(w3c), Some(xray), &ambient).traceparent(), w3c);
        assert_eq!(Trace::of(Some("garbage"), Some(xray), &ambient).trace_id(), "5759e988bd862e3fe1be46a994272793");
        assert_eq!(Trace::of(None, None, &ambient).trace_id().len(), 32);
    }

    #[test]
    fn a_metric_names_its_dimension_and_its_value_beside_the_metadata() {
        let line = metric("souk", "local", ("OutboxLagSeconds", "Seconds", 1.5), &Ambient::system());
        let declared = &line["_aws"]["CloudWatchMetrics"][0];
        assert_eq!(declared["Dimensions"], json!([["stage"]]));
        assert_eq!(declared["Metrics"], json!([{ "Name": "OutboxLagSeconds", "Unit": "Seconds" }]));
        assert_eq!((&line["stage"], &line["OutboxLagSeconds"]), (&json!("local"), &json!(1.5)));
        assert!(line["_aws"]["Timestamp"].as_u64().unwrap() > 1_700_000_000_000);
    }

    #[test]
    fn headers_that_are_no_traceparent_are_not_believed() {
        let ambient = Ambient::system();
        for header in [
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-\"}{\"a\":1-01",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        ] {
            assert!(!header.contains(Trace::of(Some(header), None, &ambient).trace_id()), "{header}");
        }
    }
}
