//! Identity as data: callers and permissions, clients, and the building blocks of sessions and codes.
//!
//! Values and rules without input or output; [`crate::auth`] works with them.

mod access_token;
mod caller;
mod client;
mod mail_code;
pub mod permission;
mod refresh_token;

pub use access_token::{ACCESS_TOKEN_LIFETIME, AccessToken};
pub use caller::{Caller, Owner, Scope};
pub use client::Client;
pub use mail_code::{MailCode, MailCodeProof};
pub use permission::{Permission, Role, Roles};
pub use refresh_token::{RefreshToken, Salt};
