//! Access tokens, as data; [`crate::auth::token`] signs and verifies them.

use time::Duration;

use super::Caller;

/// How long an access token is valid.
pub const ACCESS_TOKEN_LIFETIME: Duration = Duration::minutes(10);

/// The claims of an access token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccessToken {
    pub caller: Caller,
    /// How often the session was refreshed before.
    pub generation: u64,
}
