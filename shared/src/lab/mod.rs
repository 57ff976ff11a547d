//! The lab: one idea of the runtime per module, small enough to read and slow enough to watch.
//!
//! Each has an endpoint under `/v1/lab`, which exists where the template's parameter `Lab` is `on`, and a step of
//! `cargo xtask lab`, which runs the endpoint's binary as Lambda would and draws its measurements.
//!
//! | Idea | Module |
//! | --- | --- |
//! | blocking a thread blocks every request on it | [`blocking`] |
//! | where slow computations belong | [`crypto`] |
//! | the speedup of more threads, and its limit | [`cpu`] |
//! | a large reply, streamed or buffered | [`stream`] |
//! | the cache, cold, warm and broken; a stampede; one environment for one request or for many | [`cache`] |
//! | a dependency that hangs | [`breaker`] |

pub mod blocking;
pub mod breaker;
pub mod cache;
pub mod cpu;
pub mod crypto;
pub mod stream;
