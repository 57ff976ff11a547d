//! What Souk's functions share.
//!
//! The rooms stack: each imports only from those below it, within a row from those to its right. `tests/tests/layers.rs` reads this
//! table and every import.
//!
//! | Rooms | What is in them |
//! | --- | --- |
//! | [`background`], [`api`] | declarations: the authorizer, consumers and tasks; every endpoint with its request and reply types |
//! | [`lab`] | experiments that show how all of this behaves |
//! | [`lambda`] | the runtime: the wrapper that turns a handler into a Lambda function |
//! | [`auth`] | tokens, passwords, sessions, ways to log in, account linking |
//! | [`page`] | keyset pagination with sealed cursors |
//! | [`store`] | every query: [`store::mysql`], [`store::mongodb`], [`store::redis`]; cache-aside, rate limits, migrations beside them |
//! | [`mail`], [`report`], [`notification`], [`order`] | the domain with its messages: values and rules, and the queues that carry them |
//! | [`messaging`] | queues, envelopes, backoff, dead letters |
//! | [`mac`] | keyed tags (HMAC) for what is handed out and later taken back |
//! | [`contract`] | what a declaration is, and what is derived from it; the headers that it names |
//! | [`identity`], [`email`], [`money`] | values that many types have |
//! | [`telemetry`], [`http_client`], [`secret`], [`aws`], [`breaker`], [`error`], [`environment`], [`ambient`] | the platform: logs and traces, other servers, configuration, errors, clock and randomness |
//!
//! # Glossary
//!
//! - [`Needs`](contract::Needs): the stores, queues and secrets of one function: its handler gets exactly these, its role may use exactly these
//! - [`Grant`](contract::Grant), [`Requirements`](contract::Requirements): an IAM action on one thing; all that has to be in place for a resource
//! - [`Problem`](error::Problem): a kind of error that clients can be told of (RFC 9457)
//! - [`Caller`](identity::Caller): a user with a valid access token
//! - [`Owner`](identity::Owner), [`Scope`](identity::Scope): a caller as the owner of rows; the rows that a query may see. Both come only from a caller, so a filter cannot be forgotten
//! - [`Keyed`](contract::Keyed): an endpoint with an `Idempotency-Key`: a repeated request replays the first reply
//! - [`IfMatch`](contract::IfMatch): an endpoint with optimistic locking: a change names the version that it is of
//! - [`Envelope`](messaging::Envelope): a message as it travels: with its id and its trace
//! - Outbox: messages as rows of the commit that they follow (*transactional outbox*); the relay sends what did not leave at once
//! - Epoch: a number on each user; a session is good only in the epoch that it began in, so one write ends all of them
//! - Generation: how often a session was refreshed; access tokens of earlier generations can be revoked
//! - Tombstone: a cache entry that says which version is outdated, so that a late fill loses
//! - [`Ambient`](ambient::Ambient): clock and randomness, handed in: tests set the clock
//! - Stage: one deployment (`local`, `staging`, `prod`)

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
pub mod http_client;
pub mod identity;
pub mod lab;
pub mod lambda;
pub mod mac;
pub mod mail;
pub mod messaging;
pub mod money;
pub mod notification;
pub mod order;
pub mod page;
pub mod report;
pub mod secret;
pub mod store;
pub mod telemetry;

/// On an `async fn`: its future is on the heap, and compiled here with the driver's code below it. Otherwise each function that
/// awaits it would compile all of that anew, and link it twice where this crate awaits it too.
pub(crate) use async_recursion::async_recursion as boxed;
