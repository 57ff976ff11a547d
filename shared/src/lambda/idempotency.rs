//! Requests that happen once: the idempotency key and the work share one transaction.

use super::{Reply, Request};
use crate::{
    contract::{AccessRule, Endpoint, Keyed},
    error::{ApiError, Problem},
    identity::Caller,
    messaging::OutboxMessage,
    store::{
        Mysql,
        mysql::{
            KeyedWork, LOCK_WAIT_TIMEOUT,
            idempotency_keys::{self, Begun},
        },
    },
};

/// A request with an idempotency key.
pub enum Once<T> {
    /// The first with this key: here is the transaction for its work.
    First(KeyedWork),
    /// A repetition of one that is done: here is the reply to that.
    Repeated(Reply<T>),
}

impl<E> Request<E>
where
    E: Endpoint<Idempotency = Keyed, Access: AccessRule<Caller = Caller>>,
{
    /// Begins the work of this request, or finds the reply to the one that it repeats. A repetition waits for the first request.
    ///
    /// # Errors
    /// [`Problem::RequestInProgress`] where the first one is still at work after [`LOCK_WAIT_TIMEOUT`],
    /// [`Problem::IdempotencyKeyReused`] for another request with this key; when the store does not answer.
    pub async fn begin(&self, mysql: &Mysql) -> Result<Once<E::Reply>, ApiError> {
        let (user_id, key, now) = (self.caller.user_id, &self.idempotency_key, self.ambient.now());
        match idempotency_keys::begin(mysql, E::NAME, user_id, key, now).await? {
            Begun::First(work) => Ok(Once::First(work)),
            Begun::Completed { status, body } => {
                Ok(Once::Repeated(Reply::json(body).status(status).header("idempotent-replayed", "true")))
            }
            Begun::InProgress => Err(ApiError::from(Problem::RequestInProgress).after(LOCK_WAIT_TIMEOUT)),
            Begun::Reused => Err(Problem::IdempotencyKeyReused.into()),
        }
    }

    /// Commits the work with this reply, which is kept for repetitions, and with the messages that must follow.
    ///
    /// # Errors
    /// When the reply cannot be written as JSON, or the store does not answer.
    pub async fn commit(
        &self,
        work: KeyedWork,
        reply: &E::Reply,
        messages: &[OutboxMessage],
    ) -> Result<Reply<E::Reply>, ApiError> {
        let json = serde_json::to_string(reply).map_err(ApiError::internal)?;
        work.commit(E::STATUS, &json, messages).await?;
        Ok(Reply::json(json))
    }
}
