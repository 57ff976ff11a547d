//! Requests for reports, without the endpoint.

use std::slice;

use shared::{
    ambient::Ambient,
    messaging::OutboxMessage,
    report::{ReportQueue, ReportRequested},
    store::{
        Mysql,
        mysql::reports::{self, NewReport},
    },
    telemetry::Trace,
};
use time::macros::datetime;

use crate::keyed;

/// Requests a report as the endpoint does, for a new user. Its message is in the outbox, and not sent.
///
/// # Panics
/// When the store does not answer.
pub async fn request_report(mysql: &Mysql, ambient: &Ambient) -> (NewReport, OutboxMessage) {
    let (user_id, now) = (ambient.id(), ambient.now());
    let mut work = keyed::begin(mysql, user_id, now).await.unwrap();
    let (from, to) = (datetime!(2026-02-01 00:00 UTC), datetime!(2026-02-20 00:00 UTC));
    let new = NewReport { id: ambient.id(), user_id, from, to, now };
    let (trace, command) = (Trace::of(None, None, ambient), ReportRequested { report_id: new.id });
    let message = OutboxMessage::command::<ReportQueue>(ambient.id(), &trace, command).unwrap();
    reports::insert(&mut work, &new).await.unwrap();
    work.commit(202, "{}", slice::from_ref(&message)).await.unwrap();
    (new, message)
}
