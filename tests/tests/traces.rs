//! OpenTelemetry traces: deployed functions, and binaries of them, export to a collector of the test's own.

use std::{
    collections::BTreeSet,
    net::TcpListener,
    time::{Duration, Instant},
};

use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use ring::{digest, hmac};
use serde_json::{Value, json};
use shared::{ambient::Ambient, environment, telemetry::hex};
use tests::{
    Call, Stage, aws,
    collector::{Collector, Span},
    deployed::Deployed,
    function::Function,
    http_server::Asked,
    people,
};

/// The number of requests that are sampled.
const REQUESTS: usize = 60;

fn new_trace_id() -> String {
    hex(&Ambient::system().bytes::<16>())
}

fn one<'a>(spans: &'a [Span], service: &str, name: &str) -> &'a Span {
    let found: Vec<_> = spans.iter().filter(|span| span.service == service && span.name == name).collect();
    assert_eq!(found.len(), 1, "{name} of {service} in {spans:#?}");
    found[0]
}

/// Whether a span is a descendant of another one.
fn is_within(spans: &[Span], span: &Span, outer: &Span) -> bool {
    let parent = spans.iter().find(|other| other.id == span.parent_id);
    parent.is_some_and(|parent| parent.id == outer.id || is_within(spans, parent, outer))
}

#[test]
fn an_order_is_one_trace_from_the_callers_span_to_its_mail_and_its_notification() {
    let collector = Collector::start();
    let product = people::new_product(5);
    let functions = ["orders-place", "on-email", "on-notification"];
    let deployed = functions.map(Deployed::of);
    let to_collector =
        [("SOUK_TRACES", "collector"), ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", collector.endpoint.as_str())];
    for function in &deployed {
        function.put_with(&to_collector);
    }
    let (trace_id, callers_span) = (new_trace_id(), "00f067aa0ba902b7");
    let body = json!({ "lines": [{ "productId": product, "quantity": 1 }] });
    let order = Call::post("/v1/orders").token(people::customer()).key(&people::new_key()).json(body);
    let order = order.header("traceparent", format!("00-{trace_id}-{callers_span}-01")).send();
    let spans = collector.wait_for(&trace_id, &functions);
    deployed.iter().for_each(Deployed::put);
    let order = order.expect(201).json();
    let _ = aws::wait_for_mail("customer@souk.example", order["id"].as_str().unwrap());

    let request = one(&spans, "orders-place", "POST /v1/orders");
    assert_eq!((request.parent_id.as_str(), request.kind), (callers_span, SpanKind::Server));
    let attribute = |span: &Span, name: &str| span.attributes.get(name).cloned().unwrap_or_default();
    assert_eq!(attribute(request, "http.response.status_code"), "201");
    assert_eq!(attribute(request, "http.route"), "/v1/orders");
    assert!(!request.is_failed);
    let expected = [("service.namespace", "souk"), ("deployment.environment.name", "local"), ("cloud.provider", "aws")];
    for (name, value) in expected {
        assert_eq!(request.resource[name], value);
    }
    assert_eq!(request.resource["faas.name"], Stage::function("orders-place"));

    // All spans of the function are descendants of the request's span, and the two messages were sent from there.
    let of_request: Vec<&Span> = spans.iter().filter(|span| span.service == "orders-place").collect();
    assert!(of_request.iter().all(|span| span.id == request.id || is_within(&spans, span, request)), "{spans:#?}");
    let transaction = one(&spans, "orders-place", "orders.place");
    assert!(request.time.0 <= transaction.time.0 && transaction.time.1 <= request.time.1, "{spans:#?}");
    assert_eq!(of_request.iter().filter(|span| span.kind == SpanKind::Producer).count(), 1);

    // Each consumer continues the request's span, from which its message was sent.
    for (function, queue) in [("on-email", "process email"), ("on-notification", "process notification")] {
        let message = one(&spans, function, queue);
        assert_eq!((&message.parent_id, message.kind), (&request.id, SpanKind::Consumer));
        assert_eq!(attribute(message, "messaging.system"), "aws_sqs");
        let below = spans.iter().filter(|span| span.service == function && span.id != message.id);
        assert!(below.clone().count() > 0 && below.clone().all(|span| is_within(&spans, span, message)), "{spans:#?}");
    }
    assert!(is_within(&spans, one(&spans, "on-email", "ses.send"), request));
}

/// A request in a trace.
fn read(function: &Function, trace_id: &str) -> Value {
    let mut event = aws::http_event("GET /health", &json!({}));
    event["headers"]["traceparent"] = json!(format!("00-{trace_id}-00f067aa0ba902b7-01"));
    function.invoke(&event)
}

#[test]
fn a_share_of_traces_is_sent_and_it_goes_by_the_trace() {
    let collector = Collector::start();
    let function = Function::start(
        "health",
        &[
            ("SOUK_TRACES", "collector".to_owned()),
            ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", collector.endpoint.clone()),
            ("OTEL_TRACES_SAMPLER_ARG", "0.5".to_owned()),
        ],
    );
    let ids: BTreeSet<String> = (0..REQUESTS).map(|_| new_trace_id()).collect();
    for id in &ids {
        assert_eq!(read(&function, id)["statusCode"], 200);
    }
    // A trace that every share includes, sent last: earlier spans have arrived when its span has.
    let last = format!("{}1{}", "0".repeat(15), "0".repeat(16));
    let _ = read(&function, &last);
    let _ = collector.wait_for(&last, &["health"]);
    let sent: BTreeSet<String> =
        collector.spans().into_iter().map(|span| span.trace_id).filter(|id| *id != last).collect();
    // The upper 63 bits of the number in the last 16 digits: in the lower half. `TraceIdRatioBased` of OpenTelemetry's
    // specification.
    let expected: BTreeSet<String> =
        ids.iter().filter(|id| u64::from_str_radix(&id[16..], 16).unwrap() >> 1 < 1 << 62).cloned().collect();
    assert_eq!(sent, expected);
    assert!((REQUESTS / 6..REQUESTS * 5 / 6).contains(&sent.len()), "{} of {REQUESTS}", sent.len());
}

#[test]
fn what_goes_to_cloudwatch_is_signed() {
    let collector = Collector::start();
    let function = Function::start(
        "health",
        &[("SOUK_TRACES", "cloudwatch".to_owned()), ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", collector.endpoint.clone())],
    );
    let trace_id = new_trace_id();
    let _ = read(&function, &trace_id);
    let _ = collector.wait_for(&trace_id, &["health"]);
    let requests = collector.take_requests();
    let [request] = requests.as_slice() else { panic!("{} requests", requests.len()) };
    let authorization = request.header("authorization").unwrap();
    assert_eq!(
        signature(request, authorization),
        authorization.rsplit_once("Signature=").unwrap().1,
        "{authorization}"
    );
    let scope = format!("/{}/xray/aws4_request, ", Stage::get().region);
    assert!(authorization.contains(&scope), "{authorization}");
}

/// The expected signature of a request, by the recipe:
/// <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html>.
fn signature(request: &Asked, authorization: &str) -> String {
    let signed = authorization.split_once("SignedHeaders=").unwrap().1.split_once(',').unwrap().0;
    assert!(signed.split(';').any(|name| name == "host") && signed.split(';').any(|name| name == "content-type"));
    let sha256 = |bytes: &[u8]| hex(digest::digest(&digest::SHA256, bytes).as_ref());
    let headers: Vec<String> =
        signed.split(';').map(|name| format!("{name}:{}\n", request.header(name).unwrap().trim())).collect();
    let headers = headers.concat();
    let canonical = format!("POST\n{}\n\n{headers}\n{signed}\n{}", request.path, sha256(&request.body));
    let time = request.header("x-amz-date").unwrap();
    let (date, region) = (&time[..8], Stage::get().region.as_str());
    let text = format!("AWS4-HMAC-SHA256\n{time}\n{date}/{region}/xray/aws4_request\n{}", sha256(canonical.as_bytes()));
    let secret = environment::required("AWS_SECRET_ACCESS_KEY").unwrap();
    let sign = |key: &[u8], text: &str| hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), text.as_bytes());
    let key = [date, region, "xray", "aws4_request"]
        .iter()
        .fold(format!("AWS4{secret}").into_bytes(), |key, part| sign(&key, part).as_ref().to_vec());
    hex(sign(&key, &text).as_ref())
}

#[test]
fn a_collector_that_hangs_or_is_gone_costs_a_bounded_time_and_no_request() {
    // One accepts connections and never answers; the other refuses them.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let gone = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    for (address, most) in [(silent.local_addr().unwrap(), Duration::from_secs(6)), (gone, Duration::from_secs(2))] {
        let function = Function::start(
            "health",
            &[
                ("SOUK_TRACES", "collector".to_owned()),
                ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", format!("http://{address}/v1/traces")),
            ],
        );
        let start = Instant::now();
        for _ in 0..20 {
            assert_eq!(read(&function, &new_trace_id())["statusCode"], 200);
        }
        // Three failures of a second each, then the circuit breaker is open.
        assert!(start.elapsed() < most, "{:?}", start.elapsed());
    }
}
