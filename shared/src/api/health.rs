//! `/health`: whether the system is up.

use serde::Serialize;
use utoipa::ToSchema;

use crate::{
    contract::Public,
    endpoint,
    store::{Mongodb, Mysql, Redis},
};

endpoint! {
    /// Says that the function itself runs.
    Health = "health" GET "/health" {
        access: Public,
        reply: 200 HealthReply,
        needs: {},
    }
}

endpoint! {
    /// Says whether every store answers; 503 if MySQL or MongoDB does not.
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

/// Each store on its own.
#[derive(Serialize, ToSchema)]
pub struct ReadyReply {
    /// `ok`, or `degraded` if only Redis does not answer.
    pub status: Readiness,
    pub mysql: Readiness,
    pub mongodb: Readiness,
    pub redis: Readiness,
}

/// How something is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Readiness {
    Ok,
    Degraded,
    Down,
}
