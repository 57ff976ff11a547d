//! `/v1/lab`: the experiments of [`crate::lab`], one endpoint each, in deployments that turn the lab on.
//!
//! No rate limit applies: counting would distort the measurements. Each request is bounded instead.

use std::{num::NonZero, thread, time::Duration};

use garde::Validate;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use crate::{
    contract::Public,
    endpoint,
    lab::{
        breaker::{Dependency, Ended, Protection},
        cache::Guard,
        cpu::Added,
        crypto::Place,
        stream::{Line, Mode},
    },
    store::{Mysql, Redis, cache::Status},
};

endpoint! {
    /// Waits and blocks its thread.
    /// Part of the lab.
    LabBlocking = "lab-blocking" GET "/v1/lab/blocking" {
        access: Public,
        query: WaitQuery,
        reply: 200 Waited,
        problems: [ValidationFailed],
        needs: {},
    }
}

endpoint! {
    /// Waits without blocking its thread.
    /// Part of the lab.
    LabNonBlocking = "lab-non-blocking" GET "/v1/lab/non-blocking" {
        access: Public,
        query: WaitQuery,
        reply: 200 Waited,
        problems: [ValidationFailed],
        needs: {},
    }
}

endpoint! {
    /// Hashes passwords on or off the reactor.
    /// Part of the lab.
    LabCrypto = "lab-crypto" GET "/v1/lab/crypto" {
        access: Public,
        query: CryptoQuery,
        reply: 200 Hashed,
        problems: [ValidationFailed],
        needs: {},
    }
}

endpoint! {
    /// Adds up orders on a number of threads.
    /// Part of the lab.
    LabCpu = "lab-cpu" GET "/v1/lab/cpu" {
        access: Public,
        query: CpuQuery,
        reply: 200 AddedUp,
        problems: [ValidationFailed],
        needs: {},
    }
}

endpoint! {
    /// Sends generated rows, streamed or buffered.
    /// Part of the lab.
    LabStream = "lab-stream" GET "/v1/lab/stream" {
        access: Public,
        query: StreamQuery,
        reply: 200 Line as ["application/x-ndjson"],
        problems: [ValidationFailed],
        needs: {},
    }
}

endpoint! {
    /// Reads through the cache, guarded against stampedes or not.
    /// Part of the lab.
    LabCache = "lab-cache" GET "/v1/lab/cache" {
        access: Public,
        query: CacheQuery,
        reply: 200 CacheRead,
        problems: [ValidationFailed],
        needs: { mysql: Mysql, redis: Redis },
    }
}

endpoint! {
    /// Calls a dependency that hangs, protected or not.
    /// Part of the lab.
    LabBreaker = "lab-breaker" GET "/v1/lab/breaker" {
        access: Public,
        query: BreakerQuery,
        reply: 200 Called,
        needs: { dependency: Dependency },
    }
}

/// How long to wait.
#[derive(Deserialize, Validate, IntoParams)]
#[serde(deny_unknown_fields)]
pub struct WaitQuery {
    /// 0 to 1000.
    #[garde(range(max = 1000))]
    #[param(minimum = 0, maximum = 1000, default = 50)]
    #[serde(default = "default_wait")]
    milliseconds: u16,
}

const fn default_wait() -> u16 {
    50
}

impl WaitQuery {
    #[must_use]
    pub fn time(&self) -> Duration {
        Duration::from_millis(self.milliseconds.into())
    }
}

/// The wait is over.
#[derive(Serialize, ToSchema)]
pub struct Waited {
    pub milliseconds: u64,
}

impl From<Duration> for Waited {
    fn from(time: Duration) -> Self {
        Self { milliseconds: milliseconds(time) }
    }
}

/// How many passwords to hash, and where.
#[derive(Deserialize, Validate, IntoParams)]
#[serde(deny_unknown_fields)]
#[garde(allow_unvalidated)]
pub struct CryptoQuery {
    #[serde(default)]
    #[param(inline)]
    pub place: Place,
    /// 0 to 4, one after the other.
    #[garde(range(max = 4))]
    #[param(minimum = 0, maximum = 4, default = 1)]
    #[serde(default = "default_hashes")]
    pub hashes: u8,
}

const fn default_hashes() -> u8 {
    1
}

/// Passwords were hashed.
#[derive(Serialize, ToSchema)]
pub struct Hashed {
    pub place: Place,
    pub hashes: u8,
}

/// How much to add up, on how many threads.
#[derive(Deserialize, Validate, IntoParams)]
#[serde(deny_unknown_fields)]
pub struct CpuQuery {
    /// 1 to as many as the environment has cores.
    #[garde(range(min = 1), custom(at_most_the_cores))]
    #[param(minimum = 1, default = 1)]
    #[serde(default = "default_threads")]
    pub threads: usize,
    /// 1 to 200,000 orders.
    #[garde(range(min = 1, max = 200_000))]
    #[param(minimum = 1, maximum = 200_000, default = 10_000)]
    #[serde(default = "default_orders")]
    pub orders: u32,
}

const fn default_threads() -> usize {
    1
}

const fn default_orders() -> u32 {
    10_000
}

fn at_most_the_cores(threads: &usize, (): &()) -> garde::Result {
    let cores = thread::available_parallelism().map_or(1, NonZero::get);
    if *threads <= cores { Ok(()) } else { Err(garde::Error::new(format!("is more than the {cores} cores here"))) }
}

/// Orders were added up.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct AddedUp {
    pub threads: usize,
    pub orders: u64,
    /// The duration of the serial part.
    pub serial_microseconds: u64,
    /// The duration of the parallel part.
    pub parallel_microseconds: u64,
}

impl AddedUp {
    #[must_use]
    pub fn new(threads: usize, added: &Added) -> Self {
        Self {
            threads,
            orders: added.report.orders,
            serial_microseconds: microseconds(added.serial),
            parallel_microseconds: microseconds(added.parallel),
        }
    }
}

/// How much to send, streamed or buffered.
#[derive(Deserialize, Validate, IntoParams)]
#[serde(deny_unknown_fields)]
#[garde(allow_unvalidated)]
pub struct StreamQuery {
    /// 0 to 1,000,000 rows of some 100 bytes.
    #[garde(range(max = 1_000_000))]
    #[param(minimum = 0, maximum = 1_000_000, default = 1000)]
    #[serde(default = "default_rows")]
    pub rows: u32,
    #[serde(default)]
    #[param(inline)]
    pub mode: Mode,
}

const fn default_rows() -> u32 {
    1000
}

/// What to read, with which guard.
#[derive(Deserialize, Validate, IntoParams)]
#[serde(deny_unknown_fields)]
#[garde(allow_unvalidated)]
pub struct CacheQuery {
    /// The key to read: any id; one that was not read before is not cached.
    #[serde(default)]
    pub id: Uuid,
    #[serde(default)]
    #[param(inline)]
    pub guard: Guard,
    /// How long the database takes, in milliseconds: 0 to 1000.
    #[garde(range(max = 1000))]
    #[param(minimum = 0, maximum = 1000, default = 50)]
    #[serde(default = "default_wait")]
    milliseconds: u16,
}

impl CacheQuery {
    /// How long the database takes.
    #[must_use]
    pub fn pause(&self) -> Duration {
        Duration::from_millis(self.milliseconds.into())
    }
}

/// A read through the cache.
#[derive(Serialize, ToSchema)]
pub struct CacheRead {
    pub cache: Status,
}

/// How to call the dependency.
#[derive(Deserialize, Validate, IntoParams)]
#[serde(deny_unknown_fields)]
#[garde(allow_unvalidated)]
pub struct BreakerQuery {
    #[serde(default)]
    #[param(inline)]
    pub protection: Protection,
}

/// The outcome of a call to a dependency that does not answer.
#[derive(Serialize, ToSchema)]
pub struct Called {
    pub ended: Ended,
}

fn milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

fn microseconds(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}
