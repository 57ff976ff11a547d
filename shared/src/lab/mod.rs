//! The lab: one idea of the runtime each, small enough to read, and slow enough to watch.
//!
//! Each has an endpoint under `/v1/lab`, which exists where the template's parameter `Lab` is `on`, and a step of `cargo xtask lab`, which
//! runs the endpoint's binary as Lambda would and draws what it measures.
//!
//! | Idea | Module |
//! | --- | --- |
//! | who blocks a thread, blocks whoever shares it | [`blocking`] |
//! | where slow computations belong | [`crypto`] |
//! | more threads, and what they cannot make faster | [`cpu`] |
//! | a large reply, in pieces or at once | [`stream`] |
//! | the cache, cold, warm and broken; everybody at once; one environment for one request or for many | [`cache`] |
//! | a dependency that hangs | [`breaker`] |

pub mod blocking;
pub mod breaker;
pub mod cache;
pub mod cpu;
pub mod crypto;
pub mod stream;
