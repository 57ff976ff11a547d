//! The trace context of a request or message: W3C Trace Context, <https://www.w3.org/TR/trace-context/>.

use opentelemetry::{
    Context,
    trace::{SpanContext, SpanId, TraceContextExt, TraceFlags, TraceId, TraceState},
};
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt;

use super::hex;
use crate::ambient::Ambient;

/// A position in a trace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trace {
    /// 32 hexadecimal digits, the same from the request to the last consumer.
    id: String,
    /// 16 hexadecimal digits: the parent span.
    parent_id: String,
    /// Whether the parent span is sampled.
    is_sampled: bool,
    /// Whether the trace starts here; its parent is then an invented one.
    is_new: bool,
}

impl Trace {
    /// The trace of a request: its `traceparent` if valid, else X-Ray's, else a new one.
    #[must_use]
    pub fn of(traceparent: Option<&str>, xray: Option<&str>, ambient: &Ambient) -> Self {
        traceparent.and_then(Self::parse).or_else(|| xray.and_then(Self::from_xray)).unwrap_or_else(|| Self {
            id: hex(&ambient.bytes::<16>()),
            parent_id: hex(&ambient.bytes::<8>()),
            is_sampled: false,
            is_new: true,
        })
    }

    /// The header's value, version 00.
    #[must_use]
    pub fn traceparent(&self) -> String {
        format!("00-{}-{}-{:02x}", self.id, self.parent_id, u8::from(self.is_sampled))
    }

    #[must_use]
    pub fn trace_id(&self) -> &str {
        &self.id
    }

    /// Makes the span a child of this position. Returns the span's own position, or this one if spans are not recorded.
    #[must_use]
    pub fn continued_by(self, span: &Span) -> Self {
        if !self.is_new {
            // An error means that spans are not recorded.
            let _ = span.set_parent(Context::new().with_remote_span_context(self.to_span_context()));
        }
        let context = span.context();
        let own = context.span().span_context().clone();
        if !own.is_valid() {
            return self;
        }
        Self {
            id: own.trace_id().to_string(),
            parent_id: own.span_id().to_string(),
            is_sampled: own.is_sampled(),
            is_new: false,
        }
    }

    fn to_span_context(&self) -> SpanContext {
        SpanContext::new(
            TraceId::from_hex(&self.id).unwrap_or(TraceId::INVALID),
            SpanId::from_hex(&self.parent_id).unwrap_or(SpanId::INVALID),
            TraceFlags::default().with_sampled(self.is_sampled),
            true,
            TraceState::default(),
        )
    }

    fn parse(header: &str) -> Option<Self> {
        let mut parts = header.split('-');
        let (version, trace_id, parent_id, flags) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
        (version.len() == 2 && version != "ff" && flags.len() == 2).then_some(())?;
        Self::new(trace_id, parent_id, u8::from_str_radix(flags, 16).ok()? & 1 == 1)
    }

    /// X-Ray's header splits the trace id in two: `Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8`.
    fn from_xray(header: &str) -> Option<Self> {
        let part = |name: &str| header.split(';').find_map(|part| part.trim().strip_prefix(name)?.strip_prefix('='));
        let root = part("Root")?.strip_prefix("1-")?.replace('-', "");
        Self::new(&root, part("Parent")?, part("Sampled") == Some("1"))
    }

    fn new(trace_id: &str, parent_id: &str, is_sampled: bool) -> Option<Self> {
        let valid = |text: &str, length| {
            text.len() == length
                && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
                && text.bytes().any(|byte| byte != b'0')
        };
        (valid(trace_id, 32) && valid(parent_id, 16)).then(|| Self {
            id: trace_id.to_owned(),
            parent_id: parent_id.to_owned(),
            is_sampled,
            is_new: false,
        })
    }
}

/// Whether a trace belongs to a share of all. Deterministic by trace id, and equal to OpenTelemetry's
/// `TraceIdRatioBased`: with equal shares, the traces whose spans are kept are those with detailed logs.
pub(super) fn is_in_share(trace_id: &str, share: f64) -> bool {
    /// 2^63
    const ALL: f64 = 9_223_372_036_854_775_808.0;
    if share >= 1.0 {
        return true;
    }
    let number = trace_id.get(16..).and_then(|half| u64::from_str_radix(half, 16).ok());
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a share is from 0 to 1")]
    number.is_some_and(|number| number >> 1 < (share.max(0.0) * ALL) as u64)
}

#[cfg(test)]
mod tests {
    use opentelemetry::trace::SpanKind;
    use opentelemetry_sdk::trace::{Sampler, SamplingDecision, ShouldSample};

    use super::*;

    #[test]
    fn a_trace_is_taken_from_the_caller_then_from_xray_then_made() {
        let ambient = Ambient::system();
        let w3c = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        let xray = "Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=1";
        assert_eq!(Trace::of(Some(w3c), Some(xray), &ambient).traceparent(), w3c);
        let from_xray = Trace::of(Some("garbage"), Some(xray), &ambient);
        assert_eq!(from_xray.traceparent(), "00-5759e988bd862e3fe1be46a994272793-53995c3f42cd8ad8-01");
        let made = Trace::of(None, None, &ambient);
        assert_eq!((made.trace_id().len(), made.is_sampled), (32, false));
    }

    #[test]
    fn what_the_caller_says_of_sampling_is_passed_on() {
        for flags in ["00", "01"] {
            let header = format!("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-{flags}");
            assert_eq!(Trace::of(Some(&header), None, &Ambient::system()).traceparent(), header);
        }
    }

    #[test]
    fn headers_that_are_no_traceparent_are_not_believed() {
        let ambient = Ambient::system();
        for header in [
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-\"}{\"a\":1-01",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-x1",
        ] {
            let trace = Trace::of(Some(header), None, &ambient);
            assert!(trace.is_new && !header.contains(trace.trace_id()), "{header}");
        }
    }

    #[test]
    fn a_share_of_traces_is_the_one_that_opentelemetry_keeps() {
        let ambient = Ambient::system();
        for share in [0.0, 0.1, 0.5, 1.0] {
            let sampler = Sampler::TraceIdRatioBased(share);
            let mut taken = 0;
            for _ in 0..1000 {
                let trace = Trace::of(None, None, &ambient);
                let id = trace.to_span_context().trace_id();
                let kept = sampler.should_sample(None, id, "", &SpanKind::Server, &[], &[]);
                let is_kept = kept.decision == SamplingDecision::RecordAndSample;
                assert_eq!(is_in_share(trace.trace_id(), share), is_kept, "{share} {}", trace.trace_id());
                taken += u32::from(is_kept);
            }
            assert!((f64::from(taken) / 1000.0 - share).abs() < 0.1, "{taken} of 1000 for {share}");
        }
    }
}
