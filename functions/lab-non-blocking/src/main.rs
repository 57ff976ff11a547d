//! `GET /v1/lab/non-blocking`: waits, and yields the thread to other requests of the environment.

use shared::{
    api::lab::{LabNonBlocking, Waited},
    error::ApiError,
    lab::blocking,
    lambda::Request,
};

shared::lambda!(LabNonBlocking, handle);

async fn handle(_: Needs, req: Request<LabNonBlocking>) -> Result<Waited, ApiError> {
    let time = req.query.time();
    blocking::non_blocking(time).await;
    Ok(time.into())
}
