//! Who is calling, and what they may do.

mod caller;
mod callers;
mod jwt;
pub mod keys;
mod mac;
pub mod mail_code;
mod openid;
pub mod password;
pub mod permission;
pub mod refresh_token;
pub mod session;
pub mod strategy;
pub mod token;

pub use caller::{Caller, CallerContext, Owner, Scope};
pub use callers::{Callers, bearer};
pub use mac::MacKey;
pub use permission::{Permission, Role, Roles};
