//! `/health`: liveness and readiness.

use serde::Serialize;
use utoipa::ToSchema;

use crate::{
    contract::Public,
    endpoint,
    store::{Mongodb, Mysql, Redis},
};

endpoint! {
    /// Liveness: the function itself runs.
    Health = "health" GET "/health" {
        access: Public,
        reply: 200 HealthReply,
        needs: {},
    }
}

endpoint! {
    /// Readiness of every store.
    /// The status is 503 if MySQL or MongoDB does not answer.
    HealthReady = "health-ready" GET "/health/ready" {
        access: Public,
        reply: 200 ReadyReply,
        needs: { mysql: Mysql, mongodb: Mongodb, redis: Redis },
    }
}

/// The function runs.
#[derive(Serialize, ToSchema)]
pub struct HealthReply {
    pub status: Readiness,
}

/// The readiness of each store.
#[derive(Serialize, ToSchema)]
pub struct ReadyReply {
    /// `ok`, or `degraded` if only Redis does not answer.
    pub status: Readiness,
    pub mysql: Readiness,
    pub mongodb: Readiness,
    pub redis: Readiness,
}

/// The state of one store, or of all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Readiness {
    Ok,
    Degraded,
    Down,
}
