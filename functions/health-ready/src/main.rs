//! `GET /health/ready`: readiness of every store.
//!
//! A 503 names which of MySQL and MongoDB does not answer; without Redis everything still works, only slower.

use shared::{
    api::health::{HealthReady, Readiness, ReadyReply},
    error::{ApiError, Problem},
    lambda::Request,
    store::StoreError,
};
use tokio::join;

shared::lambda!(HealthReady, handle);

async fn handle(needs: Needs, _: Request<HealthReady>) -> Result<ReadyReply, ApiError> {
    let (mysql, mongodb, redis) = join!(needs.mysql.ping(), needs.mongodb.ping(), needs.redis.ping());
    let (mysql, mongodb, redis) = (readiness(mysql), readiness(mongodb), readiness(redis));
    match (mysql, mongodb) {
        (Readiness::Ok, Readiness::Ok) => {}
        (Readiness::Ok, _) => return Err(ApiError::new(Problem::Unavailable, "MongoDB does not answer")),
        (_, Readiness::Ok) => return Err(ApiError::new(Problem::Unavailable, "MySQL does not answer")),
        _ => return Err(ApiError::new(Problem::Unavailable, "MySQL and MongoDB do not answer")),
    }
    let status = if redis == Readiness::Ok { Readiness::Ok } else { Readiness::Degraded };
    Ok(ReadyReply { status, mysql, mongodb, redis })
}

fn readiness(answer: Result<(), StoreError>) -> Readiness {
    match answer {
        Ok(()) => Readiness::Ok,
        Err(error) => {
            tracing::error!(%error, "not ready");
            Readiness::Down
        }
    }
}
