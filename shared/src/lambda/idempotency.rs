//! Requests that happen once: the idempotency key and the work share one transaction.

use std::future::Future;

use super::HttpEndpoint;
use super::{Reply, Request};
use crate::{
    contract::{AccessRule, Keyed},
    error::{ApiError, Problem},
    identity::Caller,
    store::{
        Mysql,
        mysql::idempotency_keys::{self, Claim, Outcome},
    },
};

impl<E> Request<E>
where
    E: HttpEndpoint<Idempotency = Keyed, Access: AccessRule<Caller = Caller>>,
{
    /// Answers a request that is sent twice with the reply to the first: `work` runs for one of them, and gets a claim with which
    /// its transaction keeps the reply. Work that comes to nothing frees the key.
    ///
    /// # Errors
    /// Those of `work`; [`Problem::RequestInProgress`] while another one is at it, [`Problem::IdempotencyKeyReused`] for another
    /// request with this key; when the store does not answer.
    pub async fn once<F>(&self, mysql: &Mysql, work: impl FnOnce(Claim) -> F) -> Result<Reply<E::Reply>, ApiError>
    where
        F: Future<Output = Result<String, ApiError>>,
    {
        let (user_id, key) = (self.caller.user_id, &self.idempotency_key);
        let claim = match idempotency_keys::claim(mysql, &self.ambient, E::NAME, user_id, key).await? {
            Outcome::Claimed(claim) => claim,
            Outcome::Completed { status, body } => {
                return Ok(Reply::json(body).status(status).header("idempotent-replayed", "true"));
            }
            Outcome::InProgress => return Err(Problem::RequestInProgress.into()),
            Outcome::Reused => return Err(Problem::IdempotencyKeyReused.into()),
        };
        let result = work(claim.clone()).await;
        if result.is_err() {
            // A key that stays claimed is free again when its lease ends.
            if let Err(error) = claim.release(mysql).await {
                tracing::warn!(%error, "the idempotency key is not free yet");
            }
        }
        result.map(Reply::json)
    }
}
