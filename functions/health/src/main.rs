//! `GET /health`: liveness of the function itself.

use shared::{
    api::health::{Health, HealthReply, Readiness},
    error::ApiError,
    lambda::Request,
};

shared::lambda!(Health, handle);

async fn handle(_: Needs, _: Request<Health>) -> Result<HealthReply, ApiError> {
    Ok(HealthReply { status: Readiness::Ok })
}
