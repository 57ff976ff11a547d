//! `GET /.well-known/jwks.json`: the public keys of access tokens, for verification elsewhere.

use shared::{
    api::auth::{AuthJwks, KeySet},
    error::ApiError,
    lambda::{Reply, Request},
};

shared::lambda!(AuthJwks, handle);

async fn handle(needs: Needs, _: Request<AuthJwks>) -> Result<Reply<KeySet>, ApiError> {
    Ok(Reply::from(needs.keys).header("cache-control", "public, max-age=300"))
}
