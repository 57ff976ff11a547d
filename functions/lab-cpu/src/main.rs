//! `GET /v1/lab/cpu`: adds up orders on a number of threads.

use shared::{
    api::lab::{AddedUp, LabCpu},
    error::ApiError,
    lab::cpu,
    lambda::Request,
};
use tokio::task::spawn_blocking;

shared::lambda!(LabCpu, handle);

async fn handle(_: Needs, req: Request<LabCpu>) -> Result<AddedUp, ApiError> {
    let (threads, orders) = (req.query.threads, req.query.orders);
    let added = spawn_blocking(move || cpu::add_up(orders, threads)).await.map_err(ApiError::internal)?;
    Ok(AddedUp::new(threads, &added.map_err(ApiError::internal)?))
}
