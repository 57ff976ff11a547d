//! `POST /v1/reports`: a report, taken on once however often it is asked for, and made by `on-report`.
//!
//! Idempotency key, report and command are one transaction.

use serde::Deserialize;
use shared::{
    api::reports::{Report, ReportsCreate},
    error::ApiError,
    lambda::{Once, Reply, Request},
    messaging::OutboxMessage,
    report::{ReportQueue, ReportRequested},
    store::{
        mysql::{
            reports::{self, NewReport},
            retry_contention,
        },
        outbox::send_committed,
    },
};
use uuid::Uuid;

shared::lambda!(ReportsCreate, handle);

async fn handle(needs: Needs, req: Request<ReportsCreate>) -> Result<Reply<Report>, ApiError> {
    with_location(retry_contention(&req.ambient, || request(&needs, &req)).await?)
}

async fn request(needs: &Needs, req: &Request<ReportsCreate>) -> Result<Reply<Report>, ApiError> {
    let mut work = match req.begin(&needs.mysql).await? {
        Once::First(work) => work,
        Once::Repeated(reply) => return Ok(reply),
    };
    let (id, now) = (req.ambient.id(), work.now());
    let new = NewReport { id, user_id: req.caller.user_id, from: req.body.from, to: req.body.to, now };
    reports::insert(&mut work, &new).await?;
    let command = ReportRequested { report_id: id };
    let messages = vec![OutboxMessage::command::<ReportQueue>(req.ambient.id(), &req.trace, command)?];
    let reply = req.commit(work, &Report::try_from(new.queued())?, &messages).await?;
    req.after_reply(send_committed(needs.report.clone(), needs.mysql.clone(), messages, now));
    Ok(reply)
}

/// Only a reply's text is kept for repetitions: the report's address is made of it.
fn with_location(reply: Reply<Report>) -> Result<Reply<Report>, ApiError> {
    #[derive(Deserialize)]
    struct Located {
        id: Uuid,
    }
    let Located { id } = serde_json::from_str(reply.text().unwrap_or_default()).map_err(ApiError::internal)?;
    Ok(reply.header("location", format!("/v1/reports/{id}")))
}
