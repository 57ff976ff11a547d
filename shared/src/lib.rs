//! What Souk's functions share.
//!
//! | Room | What is in it |
//! | --- | --- |
//! | [`api`] | every endpoint's declaration, request and reply types |
//! | [`background`] | the declarations of the other functions |
//! | [`contract`] | what a declaration is, and what is derived from it |
//! | [`lambda`] | the wrapper that turns a handler into a Lambda function |
//! | [`store`] | every query, one file per table or collection; cache-aside |
//! | [`auth`] | tokens, passwords, ways to log in, roles and permissions |
//! | [`queue`], [`mail`] | messages, and what becomes of them |
//! | [`error`], [`telemetry`] | errors as replies; logs and traces |
//! | [`ambient`], [`environment`], [`secret`], [`aws`] | the world outside: clock, randomness, configuration, secrets, AWS |

pub mod ambient;
pub mod api;
pub mod auth;
pub mod aws;
pub mod background;
pub mod contract;
pub mod email;
pub mod environment;
pub mod error;
pub mod lambda;
pub mod mail;
pub mod money;
pub mod queue;
pub mod secret;
pub mod store;
pub mod telemetry;
