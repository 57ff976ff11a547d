//! The wrapper: turns a handler into a Lambda function.
//!
//! [`run`] opens what the declaration needs, then serves events until the environment ends. What an event is, and what a handler
//! gets of it, depends on the declaration's kind: [`Http`], [`Consumer`], [`Task`] or [`Authorizer`]; [`Streaming`] is [`Http`] without a gateway.

mod after_reply;
mod authorizer;
mod caller_context;
mod consumer;
mod custom_resource;
mod endpoint;
mod event;
mod http;
mod idempotency;
mod negotiation;
mod reply;
mod request;
mod stream;
mod task;

use std::{
    cell::RefCell,
    future::Future,
    panic::AssertUnwindSafe,
    process::ExitCode,
    sync::atomic::{AtomicBool, Ordering},
    task::Poll,
    time::Duration,
};

use futures_util::{
    FutureExt,
    future::{BoxFuture, LocalBoxFuture},
};
use lambda_runtime::{
    Context, IntoFunctionResponse, LambdaEvent, LambdaInvocation, Runtime, Service, service_fn, streaming::Body,
    tower::layer::layer_fn,
};
use serde::Serialize;
use serde_json::value::RawValue;
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt;

pub use self::{
    after_reply::AfterReply,
    authorizer::{Authorizer, Bearer, Decision},
    caller_context::CallerContext,
    consumer::{Consumer, ConsumerContract, Delivery},
    custom_resource::Deployment,
    endpoint::{Counting, HttpEndpoint},
    event::HttpResponse,
    http::Http,
    idempotency::Once,
    reply::Reply,
    request::Request,
    stream::{Content, Output, Stopped, Streaming},
    task::{Task, TaskContract, TaskError, TaskRun},
};
use crate::{
    ambient::Ambient,
    aws::Aws,
    contract::{Function, Needs, ResourceContext},
    environment::{self, ConfigError},
    error::ApiError,
    telemetry::{self, JsonLines, LOG_CONTEXT, LogContext, Trace, Traces},
};

/// How long connecting may take while the environment starts. What is not there by then is tried again by the first request.
const WARM_UP_TIMEOUT: Duration = Duration::from_secs(2);
/// What is kept of the time limit for answering that the time is up.
const REPLY_RESERVE: Duration = Duration::from_millis(250);

/// Serves a kind of function: `F` is the declaration, `H` the handler, `O` what the handler's future is.
pub trait Serve<F: Function, H, O> {
    /// What is sent back: a value, as JSON, or a stream.
    type Output: Send + 'static;

    /// Whether it records spans. A function that does not is smaller.
    const IS_TRACED: bool = true;

    /// Answers one event.
    fn serve(call: Invocation<F>, handler: H) -> impl Future<Output = Result<Self::Output, String>> + Send;
}

/// One invocation.
pub struct Invocation<F: Function> {
    pub needs: F::Needs,
    pub ambient: Ambient,
    pub aws: Aws,
    /// Where the invocation is in its trace, as Lambda says; the event may know better.
    pub trace: Trace,
    /// The event's JSON, not yet looked at.
    pub event: Box<RawValue>,
    /// How long answering may take.
    pub time_left: Duration,
    pub after_reply: AfterReply,
}

/// Turns a handler into the binary of a function.
///
/// The package has to have the declaration's name, and the handler gets the declaration's `Needs`: both are compile errors
/// otherwise.
#[macro_export]
macro_rules! lambda {
    ($contract:ty, $handler:path) => {
        const _: () = assert!(
            $crate::contract::same(<$contract as $crate::contract::Function>::NAME, env!("CARGO_PKG_NAME")),
            "the package must have the name that the contract declares"
        );

        /// What this function may touch.
        type Needs = <$contract as $crate::contract::Function>::Needs;

        fn main() -> std::process::ExitCode {
            $crate::lambda::run::<$contract, _, _, _>($handler)
        }
    };
}

/// Runs the function until its environment ends.
///
/// `V` is the value that is sent back as JSON, or nothing where that is a stream.
pub fn run<F, H, O, V>(handler: H) -> ExitCode
where
    F: Function<Kind: Serve<F, H, O, Output: IntoFunctionResponse<V, Body>>>,
    H: Clone + Send + Sync + 'static,
    O: 'static,
    V: Serialize + Send + 'static,
{
    let ambient = Ambient::system();
    let aws = Aws::default();
    let traces = match observe::<F, H, O>(&ambient, &aws) {
        Ok(traces) => traces,
        Err(error) => {
            telemetry::init(JsonLines::plain(F::NAME, ambient));
            return cannot_run(&error);
        }
    };
    // One request at a time needs one thread; more threads would only cost start-up time.
    let mut builder = match environment::concurrency() {
        1 => tokio::runtime::Builder::new_current_thread(),
        _ => tokio::runtime::Builder::new_multi_thread(),
    };
    let result = match builder.enable_all().build() {
        Ok(runtime) => runtime.block_on(start::<F, H, O, V>(ambient, aws, traces, handler)),
        Err(error) => Err(error.into()),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => cannot_run(&*error),
    }
}

fn cannot_run(error: &dyn std::error::Error) -> ExitCode {
    tracing::error!(%error, "the function cannot run");
    ExitCode::FAILURE
}

/// Starts logging, and tracing where that is wanted.
fn observe<F, H, O>(ambient: &Ambient, aws: &Aws) -> Result<Option<Traces>, ConfigError>
where
    F: Function<Kind: Serve<F, H, O>>,
{
    let lines = JsonLines::open(F::NAME, ambient.clone())?;
    if <F::Kind as Serve<F, H, O>>::IS_TRACED
        && let Some(traces) = Traces::open(F::NAME, aws, ambient)?
    {
        telemetry::init_traced(lines, &traces);
        return Ok(Some(traces));
    }
    telemetry::init(lines);
    Ok(None)
}

async fn start<F, H, O, V>(
    ambient: Ambient,
    aws: Aws,
    traces: Option<Traces>,
    handler: H,
) -> Result<(), lambda_runtime::Error>
where
    F: Function<Kind: Serve<F, H, O, Output: IntoFunctionResponse<V, Body>>>,
    H: Clone + Send + Sync + 'static,
    O: 'static,
    V: Serialize + Send + 'static,
{
    let context = ResourceContext::new(aws, ambient.clone());
    let needs = F::Needs::open(&context)?;
    if tokio::time::timeout(WARM_UP_TIMEOUT, needs.warm()).await.is_err() {
        tracing::warn!("not everything that is needed answers yet");
    }
    let runtime = Runtime::new(service_fn(move |event: LambdaEvent<Box<RawValue>>| {
        let (ambient, aws) = (context.ambient.clone(), context.aws.clone());
        invoke::<F, H, O>(needs.clone(), ambient, aws, event, handler.clone())
    }));
    // Boxed, since otherwise a function that is not traced would link what continues the other way.
    let serving: LocalBoxFuture<'_, Result<(), lambda_runtime::Error>> = if <F::Kind as Serve<F, H, O>>::IS_TRACED {
        let layer = move |inner| FlushTraces { inner, traces: traces.clone(), ambient: ambient.clone() };
        Box::pin(runtime.layer(layer_fn(layer)).run_concurrent())
    } else {
        Box::pin(runtime.run_concurrent())
    };
    serving.await
}

/// The runtime, which after each reply does what the invocation has left to do ([`AfterReply`]), and then flushes its spans. The reply is
/// with its client by then.
#[derive(Clone)]
struct FlushTraces<S> {
    inner: S,
    traces: Option<Traces>,
    ambient: Ambient,
}

impl<S> Service<LambdaInvocation> for FlushTraces<S>
where
    S: Service<LambdaInvocation, Response = (), Error = lambda_runtime::Error, Future: Send + 'static>,
{
    type Response = ();
    type Error = lambda_runtime::Error;
    type Future = BoxFuture<'static, Result<(), lambda_runtime::Error>>;

    fn poll_ready(&mut self, context: &mut std::task::Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, invocation: LambdaInvocation) -> Self::Future {
        let (traces, ambient, deadline) = (self.traces.clone(), self.ambient.clone(), invocation.context.deadline);
        // Boxed where it is made: it is large, and would be copied at each step inwards.
        let replying = Box::pin(self.inner.call(invocation));
        Box::pin(async move {
            let time_left = || until(deadline, &ambient).saturating_sub(REPLY_RESERVE);
            let result = AfterReply::scope(replying, time_left, &ambient).await;
            if let Some(traces) = traces {
                traces.send(until(deadline, &ambient)).await;
            }
            result
        })
    }
}

async fn invoke<F, H, O>(
    needs: F::Needs,
    ambient: Ambient,
    aws: Aws,
    event: LambdaEvent<Box<RawValue>>,
    handler: H,
) -> Result<<F::Kind as Serve<F, H, O>>::Output, lambda_runtime::Error>
where
    F: Function<Kind: Serve<F, H, O>>,
{
    let LambdaEvent { payload, context } = event;
    let trace = Trace::of(None, context.xray_trace_id.as_deref(), &ambient);
    let time_left = until(context.deadline, &ambient).saturating_sub(REPLY_RESERVE);
    let invocation = RefCell::new(invocation(context, &trace));
    let after_reply = AfterReply::current();
    let call = Invocation { needs, ambient, aws, trace, event: payload, time_left, after_reply };
    LOG_CONTEXT.scope(invocation, F::Kind::serve(call, handler)).await.map_err(Into::into)
}

fn invocation(context: Context, trace: &Trace) -> LogContext {
    static WARM: AtomicBool = AtomicBool::new(false);
    LogContext {
        cold_start: !WARM.swap(true, Ordering::Relaxed),
        function_request_id: context.request_id,
        xray_trace_id: context.xray_trace_id,
        trace_id: trace.trace_id().to_owned(),
    }
}

/// How long it is until then, which is in milliseconds since 1970.
fn until(deadline: u64, ambient: &Ambient) -> Duration {
    let now = u64::try_from(ambient.now().unix_timestamp_nanos() / 1_000_000).unwrap_or_default();
    Duration::from_millis(deadline.saturating_sub(now))
}

/// Has the span continue the trace, and the rest of this invocation's log lines name it. Where the trace is then.
pub(crate) fn continue_trace(trace: Trace, span: &Span) -> Trace {
    let trace = trace.continued_by(span);
    let _ = LOG_CONTEXT.try_with(|invocation| {
        let mut invocation = invocation.borrow_mut();
        trace.trace_id().clone_into(&mut invocation.trace_id);
        span.set_attribute("faas.coldstart", invocation.cold_start);
        span.set_attribute("faas.invocation_id", invocation.function_request_id.clone());
    });
    trace
}

/// How a handler ended that did not return.
#[derive(Debug, thiserror::Error)]
pub(crate) enum HandlerAborted {
    #[error("the handler panicked")]
    Panicked,
    #[error("the time was up")]
    TimedOut,
}

impl From<HandlerAborted> for ApiError {
    fn from(ended: HandlerAborted) -> Self {
        match ended {
            HandlerAborted::Panicked => Self::internal(ended),
            HandlerAborted::TimedOut => Self::unavailable(ended),
        }
    }
}

/// Runs a handler; a panic or a passed time limit ends only it.
pub(crate) async fn run_bounded<T>(work: impl Future<Output = T>, time_left: Duration) -> Result<T, HandlerAborted> {
    match tokio::time::timeout(time_left, AssertUnwindSafe(work).catch_unwind()).await {
        Ok(Ok(result)) => Ok(result),
        Ok(Err(_)) => Err(HandlerAborted::Panicked),
        Err(_) => Err(HandlerAborted::TimedOut),
    }
}
