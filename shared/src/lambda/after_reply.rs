//! Work after the reply: what need not hold up the caller runs when the reply has left, and before the environment may freeze.
//!
//! Lambda freezes an environment when its runtime asks for the next event and there is none: between the reply and that, the
//! environment runs on, and is billed
//! (<https://docs.aws.amazon.com/lambda/latest/dg/lambda-runtime-environment.html>, <https://docs.aws.amazon.com/lambda/latest/dg/runtimes-api.html>).

use std::{
    future::Future,
    mem,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use futures_util::future::join_all;
use tracing::Instrument;

use super::{HandlerAborted, run_bounded};
use crate::{
    ambient::Ambient,
    error::ApiError,
    telemetry::{self, LOG_CONTEXT, Trace},
};

/// `false` where it failed, which it has logged.
type Work = Pin<Box<dyn Future<Output = bool> + Send>>;

tokio::task_local! {
    /// The work of the invocation that is being served.
    static CURRENT: AfterReply;
}

/// What one invocation still has to do when its reply has left.
#[derive(Clone, Default)]
pub struct AfterReply(Arc<Mutex<Vec<Work>>>);

impl AfterReply {
    /// That of the invocation that is being served; one of its own where nothing serves.
    pub(super) fn current() -> Self {
        CURRENT.try_with(Clone::clone).unwrap_or_default()
    }

    /// Serves an invocation, and then does what it has left to do, within the time that is then left.
    pub(super) async fn scope<T>(
        serving: impl Future<Output = T>,
        time_left: impl FnOnce() -> Duration,
        ambient: &Ambient,
    ) -> T {
        let after_reply = Self::default();
        let served = CURRENT.scope(after_reply.clone(), serving).await;
        after_reply.run(time_left, ambient).await;
        served
    }

    /// Adds work, which continues the trace.
    pub(super) fn push(&self, trace: &Trace, work: impl Future<Output = Result<(), ApiError>> + Send + 'static) {
        // A span of its own in the same trace, and no child: a request's span ends with its reply.
        let span = tracing::info_span!(parent: None, "after_reply", otel.name = "after reply");
        let _ = trace.clone().continued_by(&span);
        let context = LOG_CONTEXT.try_with(Clone::clone).unwrap_or_default();
        let logged = async move {
            let result = work.await;
            if let Err(error) = &result {
                tracing::warn!(%error, "work after the reply failed");
            }
            result.is_ok()
        };
        let work = LOG_CONTEXT.scope(context, logged.instrument(span));
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(Box::pin(work));
    }

    /// Does the work, side by side. A failure is a log line and a metric: the reply is with its client.
    async fn run(&self, time_left: impl FnOnce() -> Duration, ambient: &Ambient) {
        let work = mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner));
        if work.is_empty() {
            return;
        }
        let time_left = time_left();
        let bounded = work.into_iter().map(|work| run_bounded(work, time_left));
        let is_done = |result: Result<bool, HandlerAborted>| {
            result.unwrap_or_else(|aborted| {
                tracing::warn!(error = %aborted, "work after the reply was aborted");
                false
            })
        };
        let failed = join_all(bounded).await.into_iter().map(is_done).filter(|is_done| !is_done).count();
        if failed > 0 {
            #[expect(clippy::cast_precision_loss, reason = "a handful")]
            telemetry::measure("AfterReplyFailures", "Count", failed as f64, ambient);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

    use super::*;

    #[tokio::test]
    async fn work_begins_when_the_reply_is_there_and_what_fails_hangs_or_panics_ends_nothing_else() {
        let (ambient, done, is_replied) =
            (Ambient::system(), Arc::new(AtomicU32::new(0)), Arc::new(AtomicBool::new(false)));
        let trace = Trace::of(None, None, &ambient);
        let count = || {
            let (done, is_replied) = (Arc::clone(&done), Arc::clone(&is_replied));
            async move {
                assert!(is_replied.load(Ordering::SeqCst), "before the reply");
                tokio::task::yield_now().await;
                done.fetch_add(1, Ordering::SeqCst);
                Ok(())
            }
        };
        let serving = async {
            let after_reply = AfterReply::current();
            after_reply.push(&trace, count());
            after_reply.push(&trace, async { Err(ApiError::unavailable("a queue")) });
            after_reply.push(&trace, async { panic!("a defect") });
            after_reply.push(&trace, std::future::pending());
            after_reply.push(&trace, count());
            is_replied.store(true, Ordering::SeqCst);
            "reply"
        };
        let reply = AfterReply::scope(serving, || Duration::from_millis(50), &ambient).await;
        assert_eq!((reply, done.load(Ordering::SeqCst)), ("reply", 2));
    }
}
