//! Why a message was not processed.

use crate::error::{ApiError, chain};

/// Why a message was not processed.
#[derive(Debug)]
pub struct Failure {
    pub(crate) reason: String,
    pub(crate) is_permanent: bool,
}

impl<E: std::error::Error> From<E> for Failure {
    fn from(error: E) -> Self {
        Self::new(chain(&error))
    }
}

impl From<ApiError> for Failure {
    fn from(error: ApiError) -> Self {
        Self::new(error.to_string())
    }
}

impl Failure {
    /// Another attempt may do better: the message is delivered again, and in the end goes to the dead-letter queue.
    pub fn new(reason: impl Into<String>) -> Self {
        Self { reason: reason.into(), is_permanent: false }
    }

    /// No attempt will ever do better: the message goes to the dead-letter queue at once.
    pub fn permanent(reason: impl Into<String>) -> Self {
        Self { reason: reason.into(), is_permanent: true }
    }
}
