//! Authentication: identifying the caller, and the ways to log in.

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
