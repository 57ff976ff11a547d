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
//! | [`notification`], [`report`], [`export`] | what users are told inside the application; what was sold; the catalogue, as it is taken out |
//! | [`breaker`] | who keeps failing is left alone for a while |
//! | [`lab`] | experiments that show how all of this behaves |
//! | [`page`], [`email`], [`money`] | lists in pages; the values that many types have |
//! | [`ambient`], [`environment`], [`secret`], [`aws`], [`http_client`] | the world outside: clock, randomness, configuration, secrets, AWS, other servers |

pub mod ambient;
pub mod api;
pub mod auth;
pub mod aws;
pub mod background;
pub mod breaker;
pub mod contract;
pub mod email;
pub mod environment;
pub mod error;
pub mod export;
pub mod http_client;
pub mod lab;
pub mod lambda;
pub mod mail;
pub mod money;
pub mod notification;
pub mod page;
pub mod queue;
pub mod report;
pub mod secret;
pub mod store;
pub mod telemetry;

/// On an `async fn`: its future is on the heap, and compiled here with the driver's code below it. Otherwise each function that
/// awaits it would compile all of that anew, and link it twice where this crate awaits it too.
pub(crate) use async_recursion::async_recursion as boxed;
