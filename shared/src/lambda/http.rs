//! HTTP endpoints: read, run, reply, one log line.

use std::future::Future;

use lambda_http::{
    Body, Response,
    http::{HeaderValue, header},
};
use time::OffsetDateTime;
use tokio::time::Instant;
use tracing::{Instrument, Span, field::Empty};

use super::{
    HttpEndpoint, HttpResponse, Invocation, Reply, Request, Serve, continue_trace,
    event::{self, HttpRequest},
    reply, run_bounded,
};
use crate::{
    ambient::Ambient,
    contract::{Function, IfNoneMatch, Precondition},
    error::{ApiError, Problem},
    store::RateLimitStatus,
    telemetry::Trace,
};

/// The kind of a function that answers HTTP requests, whichever gateway, load balancer or function URL sends them.
///
/// Its caller is the one that the gateway's authorizer names. A load balancer and a function URL have no authorizer, so
/// that an endpoint that is not public answers 401 there.
pub struct Http;

impl<E, H, O, R> Serve<E, H, O> for Http
where
    E: HttpEndpoint<Kind = Self>,
    H: Fn(E::Needs, Request<E>) -> O + Send + Sync,
    O: Future<Output = Result<R, ApiError>> + Send,
    R: Into<Reply<E::Reply>> + Send,
{
    type Output = HttpResponse;

    async fn serve(call: Invocation<E>, handler: H) -> Result<Self::Output, String> {
        let started = Instant::now();
        let event = event::read(call.event.get());
        let request_id = event.as_ref().map(event::request_id).unwrap_or_default().to_owned();
        let form = HttpResponse::form(event.as_ref().ok());
        let span = span::<E>();
        let result = match event {
            Ok(event) => answer(call, &event, handler, &span).instrument(span.clone()).await,
            Err(error) => Err(error),
        };
        let (mut response, error) = match result {
            Ok(response) => (response, None),
            Err(error) => (reply::problem(&error, &request_id), Some(error)),
        };
        if let Ok(value) = HeaderValue::try_from(&request_id) {
            response.headers_mut().insert("x-request-id", value);
        }
        span.in_scope(|| log::<E>(&request_id, response.status().as_u16().into(), error.as_ref(), started, None));
        Ok(form(response))
    }
}

/// A request, as OpenTelemetry names it: <https://opentelemetry.io/docs/specs/semconv/http/http-spans/>.
pub(super) fn span<E: HttpEndpoint>() -> Span {
    tracing::info_span!(
        "request",
        otel.name = E::ROUTE_KEY,
        otel.kind = "server",
        http.request.method = E::METHOD.as_str(),
        http.route = E::PATH,
        http.response.status_code = Empty,
        "error.type" = Empty,
    )
}

/// The trace that the request belongs to; this invocation's log lines name it, and the span continues it.
pub(super) fn trace(event: &HttpRequest, ambient: &Ambient, span: &Span) -> Trace {
    let header = |name| event::header(event, name);
    continue_trace(Trace::of(header("traceparent"), header("x-amzn-trace-id"), ambient), span)
}

async fn answer<E, H, O, R>(
    call: Invocation<E>,
    event: &HttpRequest,
    handler: H,
    span: &Span,
) -> Result<Response<Body>, ApiError>
where
    E: HttpEndpoint + Function,
    H: Fn(E::Needs, Request<E>) -> O,
    O: Future<Output = Result<R, ApiError>>,
    R: Into<Reply<E::Reply>>,
{
    let trace = trace(event, &call.ambient, span);
    let path_parameters = event::path_parameters::<E>(event)?;
    let request =
        Request::<E>::read(event, &path_parameters, event::caller(event), call.ambient, trace, call.after_reply)?;
    let (account, now) = (E::account(&request), request.ambient.now());
    let counted = count::<E>(&call.needs, &request.client.network, account.as_deref(), now).await?;
    let result = run_bounded(handler(call.needs, request), call.time_left).await.map_err(ApiError::from);
    let result = result
        .flatten()
        .and_then(|reply| Ok(not_modified_if_matched::<E>(event, reply.into().into_response(E::STATUS)?)));
    match (result, counted) {
        (Ok(mut response), Some(counted)) => {
            for (name, value) in counted.headers() {
                response.headers_mut().insert(name, HeaderValue::try_from(value).map_err(ApiError::internal)?);
            }
            Ok(response)
        }
        // The account's limit, which is over, says more than the address's.
        (Err(error), Some(counted)) if error.problem() != Problem::TooManyRequests => Err(counted.with_headers(error)),
        (result, _) => result,
    }
}

/// The reply, or a 304 where the client has it already and the endpoint looks at that.
fn not_modified_if_matched<E: HttpEndpoint>(event: &HttpRequest, response: Response<Body>) -> Response<Body> {
    let known = E::Precondition::IS_ABOUT_READING.then(|| event.headers().get(header::IF_NONE_MATCH)).flatten();
    let tag = response.headers().get(header::ETAG);
    match (known.and_then(|known| known.to_str().ok()), tag.and_then(|tag| tag.to_str().ok())) {
        (Some(known), Some(tag)) if IfNoneMatch::names(known, tag) => reply::not_modified(response),
        _ => response,
    }
}

/// Counts the request against what its address and its account may do, where the endpoint has a limit. Returns
/// where it stands by its address.
pub(super) async fn count<E: HttpEndpoint>(
    needs: &E::Needs,
    network: &str,
    account: Option<&str>,
    now: OffsetDateTime,
) -> Result<Option<RateLimitStatus>, ApiError> {
    let (Some(limiter), Some(limit)) = (E::limiter(needs), E::LIMIT) else { return Ok(None) };
    let by_address = limiter.count_address(limit, network, now).await?;
    if let Some(account) = account {
        limiter.count_account(limit, account, now).await?;
    }
    Ok(Some(by_address))
}

/// How much of a streamed reply was sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Sent {
    pub items: u64,
    /// As they went out, compressed or not.
    pub bytes: u64,
    /// Whether that was all. If not, and for no problem of ours, the client hung up or did not read on.
    pub is_complete: bool,
}

/// The one line of a request, and the end of its span.
pub(super) fn log<E: HttpEndpoint>(
    request_id: &str,
    status: i64,
    error: Option<&ApiError>,
    started: Instant,
    sent: Option<Sent>,
) {
    let latency_ms = started.elapsed().as_secs_f64() * 1e3;
    let route = E::ROUTE_KEY;
    let problem = error.map(|error| error.problem().urn());
    let cause = error.and_then(ApiError::cause);
    let (items, bytes) = (sent.map(|sent| sent.items), sent.map(|sent| sent.bytes));
    let whole = sent.map(|sent| sent.is_complete);
    Span::current().record("http.response.status_code", status).record("error.type", problem);
    if error.map_or(status, |error| error.problem().status().into()) >= 500 {
        tracing::error!(route, status, latency_ms, request_id, problem, cause, items, bytes, whole, "request");
    } else {
        tracing::info!(route, status, latency_ms, request_id, problem, cause, items, bytes, whole, "request");
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use serde::Serialize;
    use serde_json::{Value, json, value::RawValue};
    use utoipa::ToSchema;

    use super::*;
    use crate::{contract::Public, endpoint};

    endpoint! {
        /// Answers as the test says.
        TestEndpoint = "test-endpoint" GET "/test" {
            access: Public,
            reply: 200 TestReply,
            needs: {},
        }
    }

    #[derive(Serialize, ToSchema)]
    pub struct TestReply {
        answer: u32,
    }

    async fn serve<O>(
        handler: impl Fn(<TestEndpoint as Function>::Needs, Request<TestEndpoint>) -> O + Send + Sync,
    ) -> Value
    where
        O: Future<Output = Result<Reply<TestReply>, ApiError>> + Send,
    {
        let event = json!({
            "version": "2.0", "routeKey": "GET /test", "rawPath": "/test", "rawQueryString": "", "headers": {},
            "requestContext": { "http": { "method": "GET", "path": "/test" }, "requestId": "r-1" },
            "isBase64Encoded": false,
        });
        let context = crate::contract::ResourceContext::system();
        let call = Invocation::<TestEndpoint> {
            needs: crate::contract::Needs::open(&context).unwrap(),
            trace: Trace::of(None, None, &context.ambient),
            ambient: context.ambient,
            aws: context.aws,
            event: RawValue::from_string(event.to_string()).unwrap(),
            time_left: Duration::from_millis(50),
            after_reply: crate::lambda::AfterReply::default(),
        };
        let response = <Http as Serve<TestEndpoint, _, _>>::serve(call, handler).await.unwrap();
        serde_json::to_value(response).unwrap()
    }

    fn problem(response: &Value) -> Value {
        assert_eq!(response["headers"]["content-type"], "application/problem+json", "{response}");
        serde_json::from_str(response["body"].as_str().unwrap()).unwrap()
    }

    #[tokio::test]
    async fn a_reply_has_the_declared_status_its_headers_and_the_requests_name() {
        let response = serve(async |_, _| Ok(Reply::from(TestReply { answer: 42 }).header("x-cache", "hit"))).await;
        assert_eq!(response["statusCode"], 200);
        assert_eq!(response["body"], json!({ "answer": 42 }).to_string());
        assert_eq!(
            (&response["headers"]["x-cache"], &response["headers"]["x-request-id"]),
            (&json!("hit"), &json!("r-1"))
        );
    }

    #[tokio::test]
    async fn a_panic_is_a_500_that_says_nothing_of_it() {
        let response = serve(async |_, _| panic!("secret detail")).await;
        assert_eq!(response["statusCode"], 500);
        assert_eq!(problem(&response)["type"], "urn:souk:problem:internal");
        assert!(!response.to_string().contains("secret detail"), "{response}");
    }

    #[tokio::test]
    async fn a_handler_that_hangs_is_a_503_before_the_time_is_up() {
        let response = serve(async |_, _| std::future::pending().await).await;
        assert_eq!((&response["statusCode"], &response["headers"]["retry-after"]), (&json!(503), &json!("1")));
        assert_eq!(problem(&response)["requestId"], "r-1");
    }

    #[tokio::test]
    async fn a_header_that_cannot_be_sent_is_a_500_and_not_a_crash() {
        let response = serve(async |_, _| Ok(Reply::from(TestReply { answer: 1 }).header("x-cache", "a\nb"))).await;
        assert_eq!(problem(&response)["status"], 500);
    }
}
