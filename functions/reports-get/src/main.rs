//! `GET /v1/reports/{id}`: a report, with its result once it is done.

use shared::{
    api::reports::{Report, ReportsGet},
    error::{ApiError, Problem},
    lambda::Request,
    store::mysql::reports,
};

shared::lambda!(ReportsGet, handle);

async fn handle(needs: Needs, req: Request<ReportsGet>) -> Result<Report, ApiError> {
    reports::find(&needs.mysql, req.path.id).await?.ok_or(Problem::NotFound)?.try_into()
}
