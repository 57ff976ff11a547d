//! The wrapper: turns a handler into a Lambda function.
//!
//! [`run`] opens what the declaration needs, then serves events until the environment ends. What an event is, and what a handler
//! gets of it, depends on the declaration's kind: [`Http`], [`Consumer`], [`Task`] or [`Authorizer`]; [`Streaming`] is [`Http`] without a gateway.

mod authorizer;
mod consumer;
mod custom_resource;
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
    time::Duration,
};

use futures_util::FutureExt;
use lambda_runtime::{Context, IntoFunctionResponse, LambdaEvent, service_fn, streaming::Body};
use serde::Serialize;
use serde_json::value::RawValue;

pub use self::request::read_json;
pub use self::{
    authorizer::{Authorizer, Bearer, Decision},
    consumer::{Consumer, ConsumerContract, Delivery, Failure},
    custom_resource::Deployment,
    http::Http,
    idempotency::IdempotencyKey,
    reply::Reply,
    request::{Client, FromBody, Request},
    stream::{Content, Output, Stopped, Streaming},
    task::{Task, TaskContract, TaskError, TaskRun},
};
use crate::{
    ambient::Ambient,
    aws::Aws,
    contract::{Function, Needs, Opener},
    environment,
    error::ApiError,
    telemetry,
    telemetry::{INVOCATION, Invocation, Trace},
};

/// How long connecting may take while the environment starts. What is not there by then is tried again by the first request.
const WARM_UP: Duration = Duration::from_secs(2);
/// What is kept of the time limit for answering that the time is up.
const GRACE: Duration = Duration::from_millis(250);

/// Serves a kind of function: `F` is the declaration, `H` the handler, `O` what the handler's future is.
pub trait Serve<F: Function, H, O> {
    /// What is sent back: a value, as JSON, or a stream.
    type Output: Send + 'static;

    /// Answers one event.
    fn serve(call: Call<F>, handler: H) -> impl Future<Output = Result<Self::Output, String>> + Send;
}

/// One invocation.
pub struct Call<F: Function> {
    pub needs: F::Needs,
    pub ambient: Ambient,
    pub aws: Aws,
    /// The event's JSON, not yet looked at.
    pub event: Box<RawValue>,
    /// How long answering may take.
    pub time_left: Duration,
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
    telemetry::init(ambient.clone());
    // One request at a time needs one thread; more threads would only cost start-up time.
    let mut builder = match environment::concurrency() {
        1 => tokio::runtime::Builder::new_current_thread(),
        _ => tokio::runtime::Builder::new_multi_thread(),
    };
    let result = match builder.enable_all().build() {
        Ok(runtime) => runtime.block_on(start::<F, H, O, V>(ambient, handler)),
        Err(error) => Err(error.into()),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!(%error, "the function cannot run");
            ExitCode::FAILURE
        }
    }
}

async fn start<F, H, O, V>(ambient: Ambient, handler: H) -> Result<(), lambda_runtime::Error>
where
    F: Function<Kind: Serve<F, H, O, Output: IntoFunctionResponse<V, Body>>>,
    H: Clone + Send + Sync + 'static,
    O: 'static,
    V: Serialize + Send + 'static,
{
    let opener = Opener::new(Aws::default(), ambient);
    let needs = F::Needs::open(&opener)?;
    if tokio::time::timeout(WARM_UP, needs.warm()).await.is_err() {
        tracing::warn!("not everything that is needed answers yet");
    }
    lambda_runtime::run_concurrent(service_fn(move |event: LambdaEvent<Box<RawValue>>| {
        let (ambient, aws) = (opener.ambient.clone(), opener.aws.clone());
        invoke::<F, H, O>(needs.clone(), ambient, aws, event, handler.clone())
    }))
    .await
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
    let invocation = RefCell::new(invocation(&context, &ambient));
    let call = Call { needs, time_left: time_left(&context, &ambient), ambient, aws, event: payload };
    INVOCATION.scope(invocation, F::Kind::serve(call, handler)).await.map_err(Into::into)
}

fn invocation(context: &Context, ambient: &Ambient) -> Invocation {
    static WARM: AtomicBool = AtomicBool::new(false);
    let trace = Trace::of(None, context.xray_trace_id.as_deref(), ambient);
    Invocation {
        cold_start: !WARM.swap(true, Ordering::Relaxed),
        function_request_id: context.request_id.clone(),
        xray_trace_id: context.xray_trace_id.clone(),
        trace_id: trace.trace_id().to_owned(),
    }
}

fn time_left(context: &Context, ambient: &Ambient) -> Duration {
    let now = u64::try_from(ambient.now().unix_timestamp_nanos() / 1_000_000).unwrap_or_default();
    Duration::from_millis(context.deadline.saturating_sub(now)).saturating_sub(GRACE)
}

/// Has the rest of this invocation's log lines name the trace it continues.
pub(crate) fn continue_trace(trace: &Trace) {
    let _ = INVOCATION.try_with(|invocation| trace.trace_id().clone_into(&mut invocation.borrow_mut().trace_id));
}

/// How a handler ended that did not return.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Ended {
    #[error("the handler panicked")]
    Panicked,
    #[error("the time was up")]
    TimedOut,
}

impl From<Ended> for ApiError {
    fn from(ended: Ended) -> Self {
        match ended {
            Ended::Panicked => Self::internal(ended),
            Ended::TimedOut => Self::unavailable(ended),
        }
    }
}

/// Runs a handler; a panic or a passed time limit ends only it.
pub(crate) async fn contained<T>(work: impl Future<Output = T>, time_left: Duration) -> Result<T, Ended> {
    match tokio::time::timeout(time_left, AssertUnwindSafe(work).catch_unwind()).await {
        Ok(Ok(result)) => Ok(result),
        Ok(Err(_)) => Err(Ended::Panicked),
        Err(_) => Err(Ended::TimedOut),
    }
}
