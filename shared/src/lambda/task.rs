//! Tasks: functions that a schedule, a deployment or a person invokes.

use std::{future::Future, time::Duration};

use serde::{Serialize, de::DeserializeOwned};
use tokio::time::Instant;
use tracing::Instrument;

use super::{Invocation, Serve, continue_trace, run_bounded};
use crate::{ambient::Ambient, aws::Aws, contract::Function, error::chain};

/// As many bytes of an output are logged.
const MAX_LOGGED_BYTES: usize = 500;

/// The kind of a function that is invoked with an event of its own.
pub struct Task;

/// A task's declaration. Declared with [`crate::task!`].
pub trait TaskContract: Function {
    type Event: DeserializeOwned + Send;
    type Output: Serialize + Send + 'static;
}

/// One run of a task.
pub struct TaskRun<T: TaskContract> {
    pub event: T::Event,
    pub ambient: Ambient,
    /// For answering whoever invoked it, where the reply alone does not.
    pub aws: Aws,
    /// How long it may take.
    pub time_left: Duration,
}

/// Why a task failed; whoever invoked it learns the reason.
#[derive(Debug)]
pub struct TaskError(pub String);

impl<E: std::error::Error> From<E> for TaskError {
    fn from(error: E) -> Self {
        Self(chain(&error))
    }
}

/// Declares a task.
#[doc(hidden)]
#[macro_export]
macro_rules! task {
    (
        $(#[doc = $summary:literal])+
        $name:ident = $function:literal {
            event: $event:ty,
            output: $output:ty,
            needs: { $($field:ident: $resource:ty),* $(,)? } $(,)?
        }
    ) => {
        $(#[doc = $summary])+
        pub struct $name;

        $crate::function!($name = $function $crate::lambda::Task { $($field: $resource),* });

        impl $crate::lambda::TaskContract for $name {
            type Event = $event;
            type Output = $output;
        }
    };
}

impl<T, H, O> Serve<T, H, O> for Task
where
    T: TaskContract<Kind = Self>,
    H: Fn(T::Needs, TaskRun<T>) -> O + Send + Sync,
    O: Future<Output = Result<T::Output, TaskError>> + Send,
{
    type Output = T::Output;

    async fn serve(call: Invocation<T>, handler: H) -> Result<Self::Output, String> {
        let started = Instant::now();
        let event =
            serde_json::from_str(call.event.get()).map_err(|error| format!("not this task's event: {error}"))?;
        let Invocation { needs, ambient, aws, trace, time_left, .. } = call;
        let span = tracing::info_span!("task", otel.name = T::NAME);
        continue_trace(trace, &span);
        let run = handler(needs, TaskRun { event, ambient, aws, time_left });
        let result =
            run_bounded(run, time_left).instrument(span.clone()).await.unwrap_or_else(|ended| Err(ended.into()));
        let latency_ms = started.elapsed().as_secs_f64() * 1e3;
        let _in_span = span.enter();
        match result {
            Ok(output) => {
                let text = serde_json::to_string(&output).unwrap_or_default();
                tracing::info!(latency_ms, output = &text[..text.floor_char_boundary(MAX_LOGGED_BYTES)], "task");
                Ok(output)
            }
            Err(TaskError(cause)) => {
                tracing::error!(latency_ms, cause, "task failed");
                Err(cause)
            }
        }
    }
}
