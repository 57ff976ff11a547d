//! `GET /v1/lab/breaker`: calls a dependency that hangs, protected or not.

use shared::{
    api::lab::{Called, LabBreaker},
    error::ApiError,
    lambda::Request,
};

shared::lambda!(LabBreaker, handle);

async fn handle(needs: Needs, req: Request<LabBreaker>) -> Result<Called, ApiError> {
    Ok(Called { ended: needs.dependency.call(req.query.protection).await? })
}
