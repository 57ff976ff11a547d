//! Rate limits by account and by address.
//!
//! An endpoint declares its limit, and what in a request names the account. The wrapper counts by both before the
//! handler runs. Where a store has to be asked for the account, as in a login, [`crate::store::Limiter`] is called after
//! that.

use std::time::Duration;

/// A number of requests in a window of time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quota {
    pub requests: u32,
    pub window: Duration,
}

const fn quota(requests: u32, minutes: u64) -> Quota {
    Quota { requests, window: Duration::from_mins(minutes) }
}

macro_rules! limits {
    ($($(#[doc = $doc:literal])+ $name:ident = $text:literal { account: $account:expr, address: $address:expr },)+) => {
        /// A rate limit.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Limit { $($(#[doc = $doc])+ $name,)+ }

        impl Limit {
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$name => $text,)+ }
            }

            /// The quota of one account, over all addresses.
            #[must_use]
            pub const fn by_account(self) -> Quota {
                match self { $(Self::$name => $account,)+ }
            }

            /// The quota of one address, over all accounts. Many people may share an address.
            #[must_use]
            pub const fn by_address(self) -> Quota {
                match self { $(Self::$name => $address,)+ }
            }
        }
    };
}

limits! {
    /// Login attempts, successful or not.
    Login = "login" { account: quota(20, 5), address: quota(100, 5) },
    /// Mails with a login code.
    LoginCode = "login-code" { account: quota(5, 15), address: quota(50, 15) },
    /// Guesses of login codes, over all the codes of an account.
    LoginCodeGuess = "login-code-guess" { account: quota(10, 60), address: quota(100, 60) },
    /// Registrations, and codes for verifying an address.
    Register = "register" { account: quota(5, 60), address: quota(50, 60) },
    /// Mails for resetting a password, and attempts with their codes.
    PasswordReset = "password-reset" { account: quota(5, 60), address: quota(50, 60) },
    /// Changes of a password, which require the current one.
    PasswordChange = "password-change" { account: quota(10, 5), address: quota(100, 5) },
}
