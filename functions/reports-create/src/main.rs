//! `POST /v1/reports`: a report, taken on once however often it is asked for, and made by `on-report`.
//!
//! Report, outbox row and idempotency record are written in one transaction.

use serde::Deserialize;
use shared::{
    api::reports::{Report, ReportsCreate},
    contract::Endpoint,
    error::{ApiError, Problem},
    lambda::{Reply, Request},
    messaging::OutboxMessage,
    report::{ReportQueue, ReportRequested},
    store::{
        mysql,
        mysql::{
            idempotency_keys::Claim,
            reports::{self, NewReport, RequestError},
            retry_contention,
        },
        outbox::send_after_commit,
    },
};
use uuid::Uuid;

shared::lambda!(ReportsCreate, handle);

async fn handle(needs: Needs, req: Request<ReportsCreate>) -> Result<Reply<Report>, ApiError> {
    with_location(req.once(&needs.mysql, |claim| request(&needs, &req, claim)).await?)
}

async fn request(needs: &Needs, req: &Request<ReportsCreate>, claim: Claim) -> Result<String, ApiError> {
    let (id, now) = (req.ambient.id(), req.ambient.now());
    let new = NewReport { id, user_id: req.caller.user_id, from: req.body.from, to: req.body.to, now };
    let reply = serde_json::to_string(&Report::try_from(new.queued())?).map_err(ApiError::internal)?;
    let message = OutboxMessage::new::<ReportQueue>(req.ambient.id(), &req.trace, ReportRequested { report_id: id })?;
    let request = || reports::request(&needs.mysql, &new, &claim, ReportsCreate::STATUS, &reply, &message);
    retry_contention(&req.ambient, request).await.map_err(problem)?;
    send_after_commit(&needs.report, &message, mysql::outbox::mark_sent(&needs.mysql, message.id, now)).await;
    Ok(reply)
}

/// Only a reply's text is kept for repetitions: what says where the report is, is taken from it.
fn with_location(reply: Reply<Report>) -> Result<Reply<Report>, ApiError> {
    #[derive(Deserialize)]
    struct Located {
        id: Uuid,
    }
    let Located { id } = serde_json::from_str(reply.text().unwrap_or_default()).map_err(ApiError::internal)?;
    Ok(reply.header("location", format!("/v1/reports/{id}")))
}

fn problem(error: RequestError) -> ApiError {
    match error {
        RequestError::LeaseLost => Problem::RequestInProgress.into(),
        RequestError::Store(error) => error.into(),
    }
}
