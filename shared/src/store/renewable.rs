//! Credential rotation: a store's client that is created again from its secret when the store refuses the credentials.
//!
//! Passwords are rotated while environments live. An open connection stays open; a new one with the old password is
//! refused, and only then is the secret read again. Reading it earlier would put a call of Secrets Manager on the usual
//! path.

use std::{
    future::Future,
    sync::{PoisonError, RwLock},
    time::{Duration, Instant},
};

use tokio::sync::Mutex;

use super::StoreError;

/// Cool-down between two renewals: a permanent refusal costs one call of Secrets Manager per interval, whatever the
/// number of requests.
const MIN_RENEWAL_INTERVAL: Duration = Duration::from_secs(3);

/// A store's client, created at first use and again when the store refuses its credentials.
pub(super) struct Renewable<T> {
    made: RwLock<Option<Generation<T>>>,
    /// *Single flight*: held while a client is created, so that concurrent callers share it. The value is the time of
    /// the last renewal.
    renewed_at: Mutex<Option<Instant>>,
}

#[derive(Clone)]
struct Generation<T> {
    client: T,
    /// Generations are numbered from 0.
    number: u64,
}

impl<T> Default for Renewable<T> {
    fn default() -> Self {
        Self { made: RwLock::default(), renewed_at: Mutex::default() }
    }
}

impl<T: Clone> Renewable<T> {
    /// The client. `log_in` creates it from the secret, given the client before it.
    ///
    /// # Errors
    /// Those of `log_in`.
    pub(super) async fn client<L>(&self, log_in: impl Fn(Option<T>) -> L) -> Result<T, StoreError>
    where
        L: Future<Output = Result<T, StoreError>>,
    {
        Ok(self.current(&log_in).await?.client)
    }

    /// Runs an attempt with the client; once more with a renewed one if the store refuses the credentials.
    ///
    /// # Errors
    /// Those of `attempt` and `log_in`; [`StoreError::Refused`] if the renewed client is refused too, or during the
    /// cool-down.
    pub(super) async fn attempt<R, L, A>(
        &self,
        log_in: impl Fn(Option<T>) -> L,
        attempt: impl Fn(T) -> A,
    ) -> Result<R, StoreError>
    where
        L: Future<Output = Result<T, StoreError>>,
        A: Future<Output = Result<R, StoreError>>,
    {
        let Generation { client, number } = self.current(&log_in).await?;
        let refusal = match attempt(client).await {
            Err(refusal @ StoreError::Refused { .. }) => refusal,
            result => return result,
        };
        match self.renewed(number, log_in).await? {
            Some(client) => attempt(client).await,
            None => Err(refusal),
        }
    }

    async fn current<L>(&self, log_in: impl Fn(Option<T>) -> L) -> Result<Generation<T>, StoreError>
    where
        L: Future<Output = Result<T, StoreError>>,
    {
        if let Some(made) = self.made() {
            return Ok(made);
        }
        let _turn = self.renewed_at.lock().await;
        match self.made() {
            Some(made) => Ok(made),
            None => Ok(self.keep(Generation { client: log_in(None).await?, number: 0 })),
        }
    }

    /// A client newer than the refused one. `None` during the cool-down.
    async fn renewed<L>(&self, refused: u64, log_in: impl Fn(Option<T>) -> L) -> Result<Option<T>, StoreError>
    where
        L: Future<Output = Result<T, StoreError>>,
    {
        let mut renewed_at = self.renewed_at.lock().await;
        let made = self.made().filter(|made| made.number == refused);
        let Some(Generation { client, number }) = made else { return Ok(self.made().map(|made| made.client)) };
        if renewed_at.is_some_and(|renewed_at| renewed_at.elapsed() < MIN_RENEWAL_INTERVAL) {
            return Ok(None);
        }
        *renewed_at = Some(Instant::now());
        let client = log_in(Some(client)).await?;
        Ok(Some(self.keep(Generation { client, number: number + 1 }).client))
    }

    fn made(&self) -> Option<Generation<T>> {
        self.made.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn keep(&self, made: Generation<T>) -> Generation<T> {
        *self.made.write().unwrap_or_else(PoisonError::into_inner) = Some(made.clone());
        made
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use futures_util::future::join_all;

    use super::*;

    /// A store with its password, its secret's password, and the number of secret reads.
    struct Store {
        password: u32,
        secret: AtomicU32,
        readings: AtomicU32,
    }

    impl Store {
        fn new(password: u32) -> Self {
            Self { password, secret: AtomicU32::new(1), readings: AtomicU32::new(0) }
        }

        async fn log_in(&self) -> Result<u32, StoreError> {
            tokio::task::yield_now().await;
            self.readings.fetch_add(1, Ordering::Relaxed);
            Ok(self.secret.load(Ordering::Relaxed))
        }

        async fn ask(&self, password: u32) -> Result<(), StoreError> {
            tokio::task::yield_now().await;
            if password == self.password {
                return Ok(());
            }
            Err(StoreError::Refused { store: "test", cause: "another password".into() })
        }

        /// The number of successes among concurrent requests.
        async fn serve(&self, login: &Renewable<u32>, requests: usize) -> usize {
            let all = (0..requests).map(|_| login.attempt(|_| self.log_in(), |password| self.ask(password)));
            join_all(all).await.into_iter().flatten().count()
        }

        fn readings(&self) -> u32 {
            self.readings.load(Ordering::Relaxed)
        }
    }

    #[tokio::test]
    async fn what_is_taken_is_read_once_however_many_ask_at_once() {
        let (store, login) = (Store::new(1), Renewable::default());
        assert_eq!(store.serve(&login, 10).await, 10);
        assert_eq!(store.serve(&login, 10).await, 10);
        assert_eq!(store.readings(), 1);
    }

    #[tokio::test]
    async fn after_a_rotation_no_request_fails_and_the_secret_is_read_once_for_all() {
        let (store, login) = (Store::new(2), Renewable::default());
        assert_eq!(login.client(|_| store.log_in()).await.unwrap(), 1);
        store.secret.store(2, Ordering::Relaxed);
        assert_eq!(store.serve(&login, 10).await, 10);
        assert_eq!(store.readings(), 2);
    }

    #[tokio::test]
    async fn a_secret_that_is_wrong_for_good_is_not_read_for_every_request() {
        let (store, login) = (Store::new(2), Renewable::default());
        for _ in 0..10 {
            assert_eq!(store.serve(&login, 10).await, 0);
        }
        assert_eq!(store.readings(), 2);
    }
}
