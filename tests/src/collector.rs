//! A collector of OpenTelemetry spans: receives a function's exports (OTLP over HTTP), and keeps them for the test.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use opentelemetry_proto::tonic::{
    collector::trace::v1::ExportTraceServiceRequest,
    common::v1::{AnyValue, KeyValue, any_value::Value as Any},
    trace::v1::{Span as Sent, span::SpanKind},
};
use prost::Message;
use shared::telemetry::hex;

use crate::http_server::{Answer, Asked, HttpServer};

/// How long spans may take: they are exported after the reply.
const TIMEOUT: Duration = Duration::from_mins(1);

/// A collector and its spans.
pub struct Collector {
    /// The address that takes spans.
    pub endpoint: String,
    taken: Arc<Mutex<Vec<Span>>>,
    requests: Arc<Mutex<Vec<Asked>>>,
}

/// An exported span.
#[derive(Clone, Debug)]
pub struct Span {
    /// The function that recorded it.
    pub service: String,
    pub resource: BTreeMap<String, String>,
    pub trace_id: String,
    pub id: String,
    /// Empty for the first span of a trace.
    pub parent_id: String,
    pub name: String,
    pub kind: SpanKind,
    pub attributes: BTreeMap<String, String>,
    /// Nanoseconds since 1970.
    pub time: (u64, u64),
    pub is_failed: bool,
    /// All of it as text, to search in.
    pub text: String,
}

impl Collector {
    /// Starts a collector.
    #[must_use]
    pub fn start() -> Self {
        let (taken, requests) = (Arc::new(Mutex::new(Vec::new())), Arc::new(Mutex::new(Vec::new())));
        let (spans, asked) = (Arc::clone(&taken), Arc::clone(&requests));
        let server = HttpServer::start(move |request| {
            let sent = ExportTraceServiceRequest::decode(&*request.body);
            asked.lock().unwrap_or_else(PoisonError::into_inner).push(request);
            let Ok(sent) = sent else { return answer("400 Bad Request") };
            spans.lock().unwrap_or_else(PoisonError::into_inner).extend(read(sent));
            answer("200 OK")
        });
        Self { endpoint: format!("{}/v1/traces", server.url), taken, requests }
    }

    /// The spans so far.
    #[must_use]
    pub fn spans(&self) -> Vec<Span> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Takes the export requests.
    #[must_use]
    pub fn take_requests(&self) -> Vec<Asked> {
        std::mem::take(&mut self.requests.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Waits until each of these functions has exported a span of a trace, and returns the trace's spans.
    ///
    /// # Panics
    /// When one of them does not.
    #[must_use]
    pub fn wait_for(&self, trace_id: &str, services: &[&str]) -> Vec<Span> {
        let start = Instant::now();
        loop {
            let mut spans = self.spans();
            spans.retain(|span| span.trace_id == trace_id);
            if services.iter().all(|service| spans.iter().any(|span| span.service == *service)) {
                return spans;
            }
            assert!(start.elapsed() < TIMEOUT, "no spans of all of {services:?}: {spans:#?}");
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

fn answer(status: &'static str) -> Answer {
    Answer { status, headers: &[("Content-Type", "application/x-protobuf")], body: Vec::new() }
}

fn read(request: ExportTraceServiceRequest) -> Vec<Span> {
    let mut spans = Vec::new();
    for of_resource in request.resource_spans {
        let resource = texts(of_resource.resource.map(|resource| resource.attributes).unwrap_or_default());
        for span in of_resource.scope_spans.into_iter().flat_map(|scope| scope.spans) {
            spans.push(span_of(&resource, span));
        }
    }
    spans
}

fn span_of(resource: &BTreeMap<String, String>, sent: Sent) -> Span {
    Span {
        text: format!("{sent:?}"),
        service: resource.get("service.name").cloned().unwrap_or_default(),
        resource: resource.clone(),
        trace_id: hex(&sent.trace_id),
        id: hex(&sent.span_id),
        parent_id: hex(&sent.parent_span_id),
        kind: sent.kind(),
        time: (sent.start_time_unix_nano, sent.end_time_unix_nano),
        is_failed: sent.status.is_some_and(|status| status.code == 2),
        name: sent.name,
        attributes: texts(sent.attributes),
    }
}

fn texts(attributes: Vec<KeyValue>) -> BTreeMap<String, String> {
    let text = |value: Option<AnyValue>| match value.and_then(|value| value.value) {
        Some(Any::StringValue(text)) => text,
        Some(Any::IntValue(number)) => number.to_string(),
        Some(Any::BoolValue(is)) => is.to_string(),
        other => format!("{other:?}"),
    };
    attributes.into_iter().map(|attribute| (attribute.key, text(attribute.value))).collect()
}
