//! `GET /v1/lab/cache`: a slow read through the cache, guarded against stampedes or not.

use shared::{
    api::lab::{CacheRead, LabCache},
    error::ApiError,
    lab::cache,
    lambda::Request,
};

shared::lambda!(LabCache, handle);

async fn handle(needs: Needs, req: Request<LabCache>) -> Result<CacheRead, ApiError> {
    let (stores, query) = ((&needs.mysql, &needs.redis), &req.query);
    let cache = cache::read(stores, &req.ambient, query.id, query.guard, query.pause()).await?;
    Ok(CacheRead { cache })
}
