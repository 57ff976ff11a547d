//! A dependency that hangs: it accepts the connection and does not answer, like a server that is overloaded or whose
//! disk is full.
//!
//! Lambda bills every millisecond of waiting, and while one request waits another environment starts for the next. A
//! timeout bounds the wait of each request; a circuit breaker ([`crate::breaker`]) limits it to the first few.

use std::{
    io,
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use serde::{Deserialize, Serialize};
use tokio::{
    io::AsyncReadExt,
    net::{TcpListener, TcpStream},
    sync::OnceCell,
};
use utoipa::ToSchema;

use crate::{
    breaker::Breaker,
    contract::{Requirements, Resource, ResourceContext},
    environment::ConfigError,
    error::ApiError,
};

/// Timeout of a protected call.
pub const TIMEOUT: Duration = Duration::from_millis(100);
/// After this the dependency hangs up. Half a second, short enough to watch; many clients and load balancers wait a
/// minute.
pub const HANGS_FOR: Duration = Duration::from_millis(500);

/// The protection between a request and the dependency.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Protection {
    None,
    Timeout,
    /// A timeout behind a circuit breaker.
    #[default]
    Breaker,
}

/// The outcome of a call. None succeeds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
#[schema(as = CallEnded)]
pub enum Ended {
    /// The dependency hung up.
    HungUp,
    /// The call timed out.
    TimedOut,
    /// The breaker was open: the call failed fast.
    Refused,
}

/// A hanging server in this environment, and the breaker of its callers.
#[derive(Clone, Default)]
pub struct Dependency {
    address: Arc<OnceCell<SocketAddr>>,
    breaker: Arc<Breaker>,
}

impl Resource for Dependency {
    fn requirements() -> Vec<Requirements> {
        Vec::new()
    }

    fn open(_: &ResourceContext) -> Result<Self, ConfigError> {
        Ok(Self::default())
    }
}

impl Dependency {
    /// Calls the dependency.
    ///
    /// # Errors
    /// When there is no connection at all.
    pub async fn call(&self, protection: Protection) -> Result<Ended, ApiError> {
        let address = *self.address.get_or_try_init(start).await.map_err(ApiError::unavailable)?;
        match protection {
            Protection::None => ask(address).await.map_err(ApiError::unavailable),
            Protection::Timeout => within_timeout(address).await,
            Protection::Breaker if self.breaker.is_open(Instant::now()) => Ok(Ended::Refused),
            Protection::Breaker => {
                let ended = within_timeout(address).await;
                // The dependency never answers, so there is no success to record.
                self.breaker.failed(Instant::now());
                ended
            }
        }
    }
}

/// Starts the server; returns its address.
async fn start() -> io::Result<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    tokio::spawn(async move {
        while let Ok((connection, _)) = listener.accept().await {
            tokio::spawn(async move {
                tokio::time::sleep(HANGS_FOR).await;
                drop(connection);
            });
        }
    });
    Ok(address)
}

async fn within_timeout(address: SocketAddr) -> Result<Ended, ApiError> {
    match tokio::time::timeout(TIMEOUT, ask(address)).await {
        Ok(ended) => ended.map_err(ApiError::unavailable),
        Err(_) => Ok(Ended::TimedOut),
    }
}

/// Waits for an answer, which never comes: the connection ends.
async fn ask(address: SocketAddr) -> io::Result<Ended> {
    let mut connection = TcpStream::connect(address).await?;
    connection.read_u8().await.map_or(Ok(Ended::HungUp), |byte| Err(io::Error::other(format!("it answered {byte}"))))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::breaker::FAILURE_THRESHOLD;

    async fn time_of(dependency: &Dependency, protection: Protection) -> (Ended, Duration) {
        let start = Instant::now();
        (dependency.call(protection).await.unwrap(), start.elapsed())
    }

    #[tokio::test]
    async fn without_protection_a_caller_waits_as_long_as_the_dependency_hangs() {
        let (ended, time) = time_of(&Dependency::default(), Protection::None).await;
        assert_eq!(ended, Ended::HungUp);
        assert!(time >= HANGS_FOR, "{time:?}");
    }

    #[tokio::test]
    async fn a_timeout_bounds_every_call_and_a_breaker_spares_all_but_the_first() {
        let dependency = Dependency::default();
        for _ in 0..FAILURE_THRESHOLD {
            let (ended, time) = time_of(&dependency, Protection::Breaker).await;
            assert_eq!(ended, Ended::TimedOut);
            assert!((TIMEOUT..HANGS_FOR).contains(&time), "{time:?}");
        }
        let (ended, time) = time_of(&dependency, Protection::Breaker).await;
        assert_eq!(ended, Ended::Refused);
        assert!(time < TIMEOUT, "{time:?}");
        assert_eq!(time_of(&dependency, Protection::Timeout).await.0, Ended::TimedOut);
    }
}
