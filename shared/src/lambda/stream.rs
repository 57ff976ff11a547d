//! Replies that are sent while they are written: of any length, in little memory, and from the first byte on.
//!
//! An HTTP API holds a reply back until it is whole, and takes 6 MB of it. A streaming function therefore has a URL of its own:
//! <https://docs.aws.amazon.com/lambda/latest/dg/configuration-response-streaming.html>. No gateway and no authorizer stand before
//! that, so the function looks at the method, the path and the access token itself.

use std::{
    future::{Future, poll_fn},
    io::{self, Write},
    mem,
    time::Duration,
};

use flate2::{Compression, write::GzEncoder};
use lambda_http::http::{HeaderMap, HeaderValue, StatusCode, header};
use lambda_runtime::{
    MetadataPrelude, StreamResponse,
    streaming::{Body, Sender, channel},
};
use tokio::time::{Instant, timeout, timeout_at};
use tracing::{Instrument, Span};

use super::{
    HttpEndpoint, Invocation, Request, Serve,
    event::{self, HttpRequest},
    http::{self, Sent},
    negotiation, reply,
    request::with_challenge,
    run_bounded,
};
use crate::{
    auth,
    contract::{AccessRule, NoPath},
    error::ApiError,
    store::{RateLimitStatus, StoreError},
    telemetry::LOG_CONTEXT,
};

/// So many bytes are sent at once.
const CHUNK_BYTES: usize = 64 * 1024;
/// What was written is sent after this time, however little it is.
const FLUSH_INTERVAL: Duration = Duration::from_millis(50);
/// How long a client that does not keep up may take for the end of a reply that was stopped.
const TRAILER_TIMEOUT: Duration = Duration::from_millis(200);

/// The kind of a function that streams its replies to HTTP requests from a function URL (payload 2.0).
pub struct Streaming;

/// What a streamed reply consists of.
///
/// A reply that has begun has a status already. So whatever goes wrong from then on is said at its end, in the reply's own form, and a
/// reply that is whole says that too: a client can tell a part from the whole.
pub trait Content: Send + 'static {
    /// Writes all of it and that this was all, in whole lines: it may be stopped between any two of them.
    fn write(&mut self, output: &mut Output) -> impl Future<Output = Result<(), Stopped>> + Send;

    /// What to write instead of the rest.
    fn error_trailer(&self, error: &ApiError, request_id: &str) -> Vec<u8>;

    /// How many items it has written, for the log.
    fn items(&self) -> u64;
}

/// Why a reply is not written to its end.
#[derive(Debug)]
pub enum Stopped {
    /// Nobody reads it any more.
    HungUp,
    /// What was to be written cannot be had.
    Failed(ApiError),
}

impl From<ApiError> for Stopped {
    fn from(error: ApiError) -> Self {
        Self::Failed(error)
    }
}

impl From<StoreError> for Stopped {
    fn from(error: StoreError) -> Self {
        Self::Failed(error.into())
    }
}

/// Where a reply is written to.
pub struct Output {
    sender: Sender,
    pending: Pending,
    /// Whether there is anything in it.
    is_pending: bool,
    flushed_at: Option<Instant>,
    bytes: u64,
}

/// What was not sent yet.
enum Pending {
    Plain(Vec<u8>),
    Gzip(GzEncoder<Vec<u8>>),
}

impl Output {
    fn new(is_compressed: bool) -> (Self, Body) {
        let (sender, body) = channel();
        let pending = Vec::with_capacity(CHUNK_BYTES);
        let pending = if is_compressed {
            Pending::Gzip(GzEncoder::new(pending, Compression::fast()))
        } else {
            Pending::Plain(pending)
        };
        (Self { sender, pending, is_pending: false, flushed_at: None, bytes: 0 }, body)
    }

    /// Writes something. Waits while the client does not keep up, so that what waits for it takes no memory; whoever stops waiting
    /// has written nothing.
    ///
    /// # Errors
    /// [`Stopped::HungUp`] when nobody reads it any more.
    pub async fn write(&mut self, bytes: &[u8]) -> Result<(), Stopped> {
        let is_due = || self.flushed_at.is_none_or(|at| at.elapsed() >= FLUSH_INTERVAL);
        if self.is_pending && (self.pending.size() >= CHUNK_BYTES || is_due()) {
            self.flush().await?;
        }
        self.is_pending |= !bytes.is_empty();
        Ok(self.pending.write(bytes).map_err(ApiError::internal)?)
    }

    /// Sends what was written so far. For who writes seldom: what was written is sent with the next that is, or at the end.
    ///
    /// # Errors
    /// As [`Output::write`].
    pub async fn flush(&mut self) -> Result<(), Stopped> {
        self.readiness().await?;
        let chunk = self.pending.take().map_err(ApiError::internal)?;
        self.send(chunk)
    }

    /// Sends the rest. The reply ends when this value is dropped.
    async fn finish(&mut self) -> Result<(), Stopped> {
        self.readiness().await?;
        let chunk = self.pending.finish().map_err(ApiError::internal)?;
        self.send(chunk)
    }

    /// Sends the rest, and this after it.
    async fn finish_with(&mut self, bytes: &[u8]) -> Result<(), Stopped> {
        self.pending.write(bytes).map_err(ApiError::internal)?;
        self.finish().await
    }

    /// Waits until something can be sent.
    async fn readiness(&mut self) -> Result<(), Stopped> {
        // Who writes as fast as the client reads never waits, and nobody would look at the network or the clock.
        tokio::task::yield_now().await;
        poll_fn(|context| self.sender.poll_ready(context)).await.map_err(|_| Stopped::HungUp)
    }

    fn send(&mut self, chunk: Vec<u8>) -> Result<(), Stopped> {
        if chunk.is_empty() {
            return Ok(());
        }
        self.bytes += chunk.len() as u64;
        self.is_pending = false;
        self.flushed_at = Some(Instant::now());
        self.sender.try_send_data(chunk.into()).map_err(|_| Stopped::HungUp)
    }
}

impl Pending {
    fn size(&self) -> usize {
        match self {
            Self::Plain(pending) => pending.len(),
            Self::Gzip(encoder) => encoder.get_ref().len(),
        }
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Self::Plain(pending) => pending.write_all(bytes),
            Self::Gzip(encoder) => encoder.write_all(bytes),
        }
    }

    /// Everything so far, in a form that the client can read at once.
    fn take(&mut self) -> io::Result<Vec<u8>> {
        let pending = match self {
            Self::Plain(pending) => pending,
            Self::Gzip(encoder) => {
                encoder.flush()?;
                encoder.get_mut()
            }
        };
        Ok(mem::replace(pending, Vec::with_capacity(CHUNK_BYTES)))
    }

    /// Everything, with what ends it.
    fn finish(&mut self) -> io::Result<Vec<u8>> {
        match mem::replace(self, Self::Plain(Vec::new())) {
            Self::Plain(pending) => Ok(pending),
            Self::Gzip(encoder) => encoder.finish(),
        }
    }
}

impl<E, H, O, C> Serve<E, H, O> for Streaming
where
    E: HttpEndpoint<Kind = Self, Path = NoPath>,
    H: Fn(E::Needs, Request<E>) -> O + Send + Sync,
    O: Future<Output = Result<C, ApiError>> + Send,
    C: Content,
{
    type Output = StreamResponse<Body>;

    async fn serve(call: Invocation<E>, handler: H) -> Result<Self::Output, String> {
        let started = Instant::now();
        let ends = started + call.time_left;
        let event = event::read(call.event.get());
        let request_id = event.as_ref().map(event::request_id).unwrap_or_default().to_owned();
        let span = http::span::<E>();
        let result = match event {
            Ok(event) => begin(call, &event, handler, &span).instrument(span.clone()).await,
            Err(error) => Err(error),
        };
        let mut response = match result {
            Ok(StreamStart { content, headers, is_compressed }) => {
                let (output, body) = Output::new(is_compressed);
                let work = write_all::<E, C>(content, output, request_id.clone(), started, ends);
                // It ends with the reply, so nothing is left to do when the environment freezes.
                tokio::spawn(in_this_invocation(work.instrument(span)));
                respond(E::STATUS, headers, body)
            }
            Err(error) => {
                let (parts, body) = reply::problem(&error, &request_id).into_parts();
                let status = error.problem().status();
                span.in_scope(|| http::log::<E>(&request_id, status.into(), Some(&error), started, None));
                respond(status, parts.headers, body.to_vec().into())
            }
        };
        if let Ok(value) = HeaderValue::try_from(&request_id) {
            response.metadata_prelude.headers.insert("x-request-id", value);
        }
        Ok(response)
    }
}

fn respond(status: u16, headers: HeaderMap, stream: Body) -> StreamResponse<Body> {
    let status_code = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let metadata_prelude = MetadataPrelude { status_code, headers, ..MetadataPrelude::default() };
    StreamResponse { metadata_prelude, stream }
}

/// A reply that nothing keeps from being sent.
struct StreamStart<C> {
    content: C,
    headers: HeaderMap,
    is_compressed: bool,
}

async fn begin<E, H, O, C>(
    call: Invocation<E>,
    event: &HttpRequest,
    handler: H,
    span: &Span,
) -> Result<StreamStart<C>, ApiError>
where
    E: HttpEndpoint<Path = NoPath>,
    H: Fn(E::Needs, Request<E>) -> O,
    O: Future<Output = Result<C, ApiError>>,
{
    let trace = http::trace(event, &call.ambient, span);
    let path_parameters = event::path_parameters::<E>(event)?;
    let caller = match E::authenticator(&call.needs) {
        Some(authenticator) => {
            let result = authenticator.authenticate(E::Access::ACCESS, token(event)).await;
            Some(result.map_err(|problem| with_challenge(problem.into()))?)
        }
        None => None,
    };
    let request = Request::<E>::read(event, &path_parameters, caller, call.ambient, trace, call.after_reply)?;
    let (account, now) = (E::account(&request), request.ambient.now());
    let counted = http::count::<E>(&call.needs, &request.client.network, account.as_deref(), now).await?;

    let mut headers = HeaderMap::new();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(request.media_type));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::VARY, HeaderValue::from_static("accept, accept-encoding"));
    for (name, value) in counted.iter().flat_map(RateLimitStatus::headers) {
        headers.insert(name, HeaderValue::try_from(value).map_err(ApiError::internal)?);
    }
    let is_compressed = negotiation::takes_gzip(event::header(event, header::ACCEPT_ENCODING));
    if is_compressed {
        headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    }
    let content = run_bounded(handler(call.needs, request), call.time_left).await??;
    Ok(StreamStart { content, headers, is_compressed })
}

fn token(event: &HttpRequest) -> Option<&str> {
    auth::bearer(event::header(event, header::AUTHORIZATION)?)
}

async fn write_all<E: HttpEndpoint, C: Content>(
    mut content: C,
    mut output: Output,
    request_id: String,
    started: Instant,
    ends: Instant,
) {
    let written = run_bounded(content.write(&mut output), ends.saturating_duration_since(Instant::now())).await;
    let (error, is_complete) = match written.map_err(ApiError::from).map_err(Stopped::Failed).flatten() {
        Ok(()) => (None, matches!(timeout_at(ends, output.finish()).await, Ok(Ok(())))),
        Err(Stopped::HungUp) => (None, false),
        Err(Stopped::Failed(error)) => {
            // A client that does not take them knows from their absence.
            let trailer = content.error_trailer(&error, &request_id);
            let _ = timeout(TRAILER_TIMEOUT, output.finish_with(&trailer)).await;
            (Some(error), false)
        }
    };
    // Before the reply ends, since the environment may freeze then.
    let sent = Sent { items: content.items(), bytes: output.bytes, is_complete };
    http::log::<E>(&request_id, E::STATUS.into(), error.as_ref(), started, Some(sent));
}

/// The work, whose log lines say the same of themselves as the rest of the invocation's.
fn in_this_invocation(work: impl Future<Output = ()>) -> impl Future<Output = ()> {
    LOG_CONTEXT.scope(LOG_CONTEXT.try_with(Clone::clone).unwrap_or_default(), work)
}

#[cfg(test)]
mod tests {
    use std::{
        io::Read,
        sync::{
            Arc,
            atomic::{AtomicU64, Ordering},
        },
    };

    use flate2::read::GzDecoder;
    use futures_util::StreamExt;
    use serde::Serialize;
    use serde_json::{Value, json, value::RawValue};
    use utoipa::ToSchema;

    use super::*;
    use crate::{
        contract::{Public, ResourceContext},
        endpoint,
        telemetry::Trace,
    };

    endpoint! {
        /// Counts, as the test says.
        TestStream = "test-stream" GET "/test" {
            access: Public,
            reply: 200 Line as ["application/x-ndjson", "text/plain"],
            needs: {},
        }
    }

    #[derive(Serialize, ToSchema)]
    pub struct Line(u64);

    /// Counts, and then ends in one of these ways.
    #[derive(Clone)]
    struct Counting {
        count: u64,
        then: Then,
        written: Arc<AtomicU64>,
    }

    #[derive(Clone, Copy)]
    enum Then {
        End,
        Fail,
        Panic,
        Hang,
    }

    impl Counting {
        fn to(count: u64, then: Then) -> Self {
            Self { count, then, written: Arc::default() }
        }
    }

    impl Content for Counting {
        async fn write(&mut self, output: &mut Output) -> Result<(), Stopped> {
            for number in 0..self.count {
                output.write(format!("{number}\n").as_bytes()).await?;
                self.written.fetch_add(1, Ordering::Relaxed);
            }
            match self.then {
                Then::End => output.write(b"end\n").await,
                Then::Fail => Err(ApiError::unavailable("secret detail").into()),
                Then::Panic => panic!("secret detail"),
                Then::Hang => std::future::pending().await,
            }
        }

        fn error_trailer(&self, error: &ApiError, request_id: &str) -> Vec<u8> {
            format!("{} {request_id}\n", error.problem().urn()).into_bytes()
        }

        fn items(&self) -> u64 {
            self.written.load(Ordering::Relaxed)
        }
    }

    /// Longer than any reply of these tests takes, however busy the machine is.
    const AMPLE: Duration = Duration::from_mins(2);
    /// The deadline of a reply that is to miss it.
    const SOON: Duration = Duration::from_millis(200);

    async fn serve(content: &Counting, method: &str, path: &str, headers: Value) -> StreamResponse<Body> {
        serve_within(AMPLE, content, method, path, headers).await
    }

    async fn serve_within(
        time_left: Duration,
        content: &Counting,
        method: &str,
        path: &str,
        headers: Value,
    ) -> StreamResponse<Body> {
        let event = json!({
            "version": "2.0", "routeKey": "$default", "rawPath": path, "rawQueryString": "", "headers": headers,
            "requestContext": { "http": { "method": method, "path": path }, "requestId": "r-1" },
            "isBase64Encoded": false,
        });
        let resources = ResourceContext::system();
        let call = Invocation::<TestStream> {
            needs: crate::contract::Needs::open(&resources).unwrap(),
            trace: Trace::of(None, None, &resources.ambient),
            ambient: resources.ambient,
            aws: resources.aws,
            event: RawValue::from_string(event.to_string()).unwrap(),
            time_left,
            after_reply: crate::lambda::AfterReply::default(),
        };
        let handler = async |_, _: Request<TestStream>| Ok(content.clone());
        <Streaming as Serve<TestStream, _, _>>::serve(call, handler).await.unwrap()
    }

    async fn get(content: &Counting) -> StreamResponse<Body> {
        serve(content, "GET", "/test", json!({})).await
    }

    async fn text(response: StreamResponse<Body>) -> String {
        String::from_utf8(response.stream.collect().await.unwrap().to_bytes().to_vec()).unwrap()
    }

    fn numbers(count: u64) -> String {
        (0..count).map(|number| number.to_string() + "\n").collect()
    }

    #[tokio::test]
    async fn a_reply_is_sent_whole_with_its_headers_and_the_requests_name() {
        let response = get(&Counting::to(100_000, Then::End)).await;
        let prelude = response.metadata_prelude.clone();
        assert_eq!(prelude.status_code, 200);
        assert_eq!(prelude.headers["content-type"], "application/x-ndjson");
        assert_eq!(prelude.headers["x-request-id"], "r-1");
        assert!(!prelude.headers.contains_key("content-encoding"));
        assert_eq!(text(response).await, numbers(100_000) + "end\n");
    }

    #[tokio::test]
    async fn a_compressed_reply_is_the_same_and_smaller() {
        let content = Counting::to(100_000, Then::End);
        let response = serve(&content, "GET", "/test", json!({ "accept-encoding": "gzip" })).await;
        assert_eq!(response.metadata_prelude.headers["content-encoding"], "gzip");
        let bytes = response.stream.collect().await.unwrap().to_bytes();
        let expected = numbers(100_000) + "end\n";
        assert!(bytes.len() < expected.len() / 2, "{} bytes", bytes.len());
        let mut text = String::new();
        GzDecoder::new(&bytes[..]).read_to_string(&mut text).unwrap();
        assert_eq!(text, expected);
    }

    #[tokio::test]
    async fn what_goes_wrong_halfway_is_said_at_the_end_and_nothing_internal() {
        for (then, problem) in [(Then::Fail, "unavailable"), (Then::Panic, "internal"), (Then::Hang, "unavailable")] {
            for headers in [json!({}), json!({ "accept-encoding": "gzip" })] {
                let time_left = if matches!(then, Then::Hang) { SOON } else { AMPLE };
                let content = Counting::to(10, then);
                let response = serve_within(time_left, &content, "GET", "/test", headers.clone()).await;
                let bytes = response.stream.collect().await.unwrap().to_bytes();
                let mut text = String::new();
                if headers["accept-encoding"] == "gzip" {
                    GzDecoder::new(&bytes[..]).read_to_string(&mut text).unwrap();
                } else {
                    text = String::from_utf8(bytes.to_vec()).unwrap();
                }
                assert_eq!(text, numbers(10) + &format!("urn:souk:problem:{problem} r-1\n"));
            }
        }
    }

    #[tokio::test]
    async fn a_client_that_does_not_read_is_not_written_for_and_misses_nothing() {
        let content = Counting::to(10_000_000, Then::End);
        let response = serve_within(SOON, &content, "GET", "/test", json!({})).await;
        tokio::time::sleep(Duration::from_millis(100)).await;
        let written = content.items();
        assert!(written < 50_000, "{written} lines wait in memory");
        // The time is up long before it is through; it has what was written until then.
        let text = text(response).await;
        let (lines, last) = text.trim_end().rsplit_once('\n').unwrap();
        assert_eq!(last, "urn:souk:problem:unavailable r-1");
        let is_all_there = lines.to_owned() + "\n" == numbers(content.items());
        assert!(is_all_there, "{} lines were written", content.items());
    }

    #[tokio::test]
    async fn a_client_that_hangs_up_ends_the_work() {
        let content = Counting::to(u64::MAX, Then::End);
        let mut response = get(&content).await;
        response.stream.next().await.unwrap().unwrap();
        drop(response);
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
        let written = content.items();
        tokio::time::sleep(Duration::from_millis(20)).await;
        assert_eq!((content.items(), Arc::strong_count(&content.written)), (written, 1));
    }

    #[tokio::test]
    async fn another_path_method_or_media_type_is_refused() {
        let content = Counting::to(1, Then::End);
        for (method, path, accept, status, problem) in [
            ("GET", "/tests", "*/*", 404, "not-found"),
            ("GET", "/test/", "*/*", 404, "not-found"),
            ("POST", "/test", "*/*", 405, "method-not-allowed"),
            ("HEAD", "/test", "*/*", 405, "method-not-allowed"),
            ("GET", "/test", "text/html", 406, "not-acceptable"),
        ] {
            let response = serve(&content, method, path, json!({ "accept": accept })).await;
            let prelude = response.metadata_prelude.clone();
            assert_eq!(
                (prelude.status_code.as_u16(), &prelude.headers["x-request-id"]),
                (status, &"r-1".parse().unwrap())
            );
            assert_eq!(prelude.headers.contains_key("allow"), status == 405);
            let problem = format!("urn:souk:problem:{problem}");
            assert_eq!(serde_json::from_str::<Value>(&text(response).await).unwrap()["type"], problem);
        }
    }
}
