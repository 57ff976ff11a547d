//! Who is calling, and what they may do.

mod caller;
pub mod keys;
pub mod password;
pub mod permission;
pub mod strategy;
pub mod token;
pub mod verification;

pub use caller::{Caller, CallerContext};
pub use permission::{Permission, Role, Roles};
