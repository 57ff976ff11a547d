//! `GET /v1/lab/blocking`: waits, and blocks the thread that other requests of the environment need.

use shared::{
    api::lab::{LabBlocking, Waited},
    error::ApiError,
    lab::blocking,
    lambda::Request,
};

shared::lambda!(LabBlocking, handle);

async fn handle(_: Needs, req: Request<LabBlocking>) -> Result<Waited, ApiError> {
    let time = req.query.time();
    blocking::blocking(time);
    Ok(time.into())
}
