//! Authentication: who calls, and how a user proves to be one.

pub mod account;
mod authenticator;
mod jwt;
pub mod keys;
mod openid;
pub mod password;
pub mod session;
pub mod strategy;
pub mod token;

pub use authenticator::{Authenticator, bearer};
