//! Units of work: a transaction as a value. Begin, change, commit.
//!
//! Dropping one rolls it back. The rows of the *transactional outbox* and of an idempotency key are part of the same commit.

use std::ops::{Deref, DerefMut};

use sqlx::{MySql, MySqlConnection, Transaction};
use time::OffsetDateTime;

use super::{
    idempotency_keys::{self, KeyRow},
    outbox,
};
use crate::{
    boxed,
    messaging::OutboxMessage,
    store::{Mysql, StoreError},
};

/// A transaction, at one moment of the clock.
pub struct UnitOfWork {
    transaction: Transaction<'static, MySql>,
    now: OffsetDateTime,
}

impl UnitOfWork {
    /// Begins a transaction whose changes happen at `now`.
    ///
    /// # Errors
    /// When there is no connection.
    #[boxed]
    pub async fn begin(mysql: &Mysql, now: OffsetDateTime) -> Result<Self, StoreError> {
        Ok(Self { transaction: mysql.begin().await?, now })
    }

    /// The connection, for queries that are part of this.
    pub(super) fn connection(&mut self) -> &mut MySqlConnection {
        &mut self.transaction
    }

    /// When its changes happen.
    #[must_use]
    pub fn now(&self) -> OffsetDateTime {
        self.now
    }

    /// Commits, with the messages that must follow.
    ///
    /// # Errors
    /// When the store does not answer. Whether it committed is not known then, unless it says so.
    #[tracing::instrument(name = "mysql.commit", skip_all)]
    #[boxed]
    pub async fn commit(mut self, messages: &[OutboxMessage]) -> Result<(), StoreError> {
        outbox::insert(&mut self.transaction, messages, self.now).await?;
        Ok(self.transaction.commit().await?)
    }
}

/// A unit of work that belongs to an idempotency key.
pub struct KeyedWork {
    work: UnitOfWork,
    key: KeyRow,
}

impl KeyedWork {
    pub(super) fn new(work: UnitOfWork, key: KeyRow) -> Self {
        Self { work, key }
    }

    /// Commits, with the reply to be kept for repetitions and the messages that must follow.
    ///
    /// # Errors
    /// As [`UnitOfWork::commit`].
    #[boxed]
    pub async fn commit(mut self, status: u16, reply: &str, messages: &[OutboxMessage]) -> Result<(), StoreError> {
        idempotency_keys::complete(self.work.connection(), &self.key, status, reply).await?;
        self.work.commit(messages).await
    }
}

impl Deref for KeyedWork {
    type Target = UnitOfWork;

    fn deref(&self) -> &UnitOfWork {
        &self.work
    }
}

impl DerefMut for KeyedWork {
    fn deref_mut(&mut self) -> &mut UnitOfWork {
        &mut self.work
    }
}
