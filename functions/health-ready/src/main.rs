//! `GET /health/ready`: every store answers.
//!
//! 503 when MySQL or MongoDB does not; without Redis everything still works, only slower.

use shared::{
    api::health::{HealthReady, Readiness, ReadyReply},
    error::ApiError,
    lambda::{Reply, Request},
    store::StoreError,
};
use tokio::join;

shared::lambda!(HealthReady, handle);

async fn handle(needs: Needs, _: Request<HealthReady>) -> Result<Reply<ReadyReply>, ApiError> {
    let (mysql, mongodb, redis) = join!(needs.mysql.ping(), needs.mongodb.ping(), needs.redis.ping());
    let (mysql, mongodb, redis) = (readiness(mysql), readiness(mongodb), readiness(redis));
    let status = match (mysql, mongodb, redis) {
        (Readiness::Ok, Readiness::Ok, Readiness::Ok) => Readiness::Ok,
        (Readiness::Ok, Readiness::Ok, _) => Readiness::Degraded,
        _ => Readiness::Down,
    };
    let reply = Reply::from(ReadyReply { status, mysql, mongodb, redis });
    Ok(if status == Readiness::Down { reply.status(503).header("retry-after", "1") } else { reply })
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
