//! The shared part of the tests: the stage they run against, a client for its API, and the template and contract to
//! compare.
//!
//! The tests need a stage of their own, which `cargo xtask test` starts and names in `SOUK_STAGE_FILE`.

pub mod aws;
pub mod child_log;
pub mod client;
pub mod cloudformation;
pub mod collector;
pub mod database;
pub mod declared;
pub mod deployed;
pub mod function;
pub mod http_server;
pub mod keyed;
pub mod mysql_wire;
pub mod people;
pub mod proxy;
pub mod queue;
pub mod report;
pub mod requests;
pub mod schema;
pub mod stack;
pub mod stage;
pub mod template;
pub mod tokens;

pub use client::{Call, Reply};
pub use stage::Stage;
