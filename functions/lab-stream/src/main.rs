//! `GET /v1/lab/stream`: sends generated rows, streamed or buffered.

use shared::{api::lab::LabStream, error::ApiError, lab::stream::Rows, lambda::Request};

shared::lambda!(LabStream, handle);

async fn handle(_: Needs, req: Request<LabStream>) -> Result<Rows, ApiError> {
    Ok(Rows::new(req.query.rows, req.query.mode))
}
