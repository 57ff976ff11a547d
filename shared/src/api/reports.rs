//! `/v1/reports`: sales reports, computed in the background.

use garde::Validate;
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::{
    contract::{IdPath, Keyed, Requires},
    endpoint,
    error::ApiError,
    identity::permission::{ReportsRead, ReportsWrite},
    messaging::Queue,
    report::{ReportQueue, SalesReport},
    store::{Mysql, mysql::reports},
};

endpoint! {
    /// Requests a sales report, computed in the background.
    /// `GET /v1/reports/{id}` has its status and result. A repeated request with the same `Idempotency-Key` gets the
    /// same reply.
    ReportsCreate = "reports-create" POST "/v1/reports" {
        access: Requires<ReportsWrite>,
        idempotency: Keyed,
        body: NewReport,
        reply: 202 Report,
        needs: { mysql: Mysql, report: Queue<ReportQueue> },
    }
}

endpoint! {
    /// Reads a report, with its result once it is done.
    ReportsGet = "reports-get" GET "/v1/reports/{id}" {
        access: Requires<ReportsRead>,
        path: IdPath,
        reply: 200 Report,
        problems: [NotFound],
        needs: { mysql: Mysql },
    }
}

/// The orders of a report.
#[derive(Deserialize, Validate, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewReport {
    /// The earliest time of an order, inclusive; not before 1970.
    #[garde(custom(in_these_centuries))]
    #[serde(with = "time::serde::rfc3339")]
    pub from: OffsetDateTime,
    /// The end of the period, exclusive; later than `from`, not after 2199.
    #[garde(custom(in_these_centuries), custom(later_than(self.from)))]
    #[serde(with = "time::serde::rfc3339")]
    pub to: OffsetDateTime,
}

/// A range of years that every database can store.
fn in_these_centuries(time: &OffsetDateTime, (): &()) -> garde::Result {
    if (1970..2200).contains(&time.year()) { Ok(()) } else { Err(garde::Error::new("is not between 1970 and 2199")) }
}

fn later_than(from: OffsetDateTime) -> impl FnOnce(&OffsetDateTime, &()) -> garde::Result {
    move |to, ()| if *to > from { Ok(()) } else { Err(garde::Error::new("is not later than `from`")) }
}

/// A report.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    pub id: Uuid,
    /// The earliest time of an order, inclusive.
    #[serde(with = "time::serde::rfc3339")]
    pub from: OffsetDateTime,
    /// The end of the period, exclusive.
    #[serde(with = "time::serde::rfc3339")]
    pub to: OffsetDateTime,
    pub status: ReportStatus,
    /// Null until the report is done.
    pub result: Option<SalesReport>,
    /// Why the report failed; null unless it did.
    pub failure: Option<String>,
    #[serde(with = "time::serde::rfc3339")]
    pub created_at: OffsetDateTime,
    /// Null until the report is done or has failed.
    #[serde(with = "time::serde::rfc3339::option")]
    pub finished_at: Option<OffsetDateTime>,
}

/// The status of a report.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum ReportStatus {
    /// Waits for a worker.
    Queued,
    /// Is being computed.
    Running,
    /// The result is available.
    Done,
    /// No result will follow.
    Failed,
}

impl From<reports::Status> for ReportStatus {
    fn from(status: reports::Status) -> Self {
        match status {
            reports::Status::Queued => Self::Queued,
            reports::Status::Running => Self::Running,
            reports::Status::Done => Self::Done,
            reports::Status::Failed => Self::Failed,
        }
    }
}

impl TryFrom<reports::Report> for Report {
    type Error = ApiError;

    fn try_from(report: reports::Report) -> Result<Self, ApiError> {
        let reports::Report { id, from, to, status, result, failure, created_at, finished_at } = report;
        let result = result.as_deref().map(serde_json::from_str).transpose().map_err(ApiError::internal)?;
        Ok(Self { id, from, to, status: status.into(), result, failure, created_at, finished_at })
    }
}
