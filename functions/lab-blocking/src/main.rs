//! `GET /v1/lab/blocking`: waits, and keeps the thread that other requests of the environment need.

use shared::{
    api::lab::{LabBlocking, Waited},
    error::ApiError,
    lab::waiting,
    lambda::Request,
};

shared::lambda!(LabBlocking, handle);

async fn handle(_: Needs, req: Request<LabBlocking>) -> Result<Waited, ApiError> {
    let time = req.query.time();
    waiting::blocking(time);
    Ok(time.into())
}
