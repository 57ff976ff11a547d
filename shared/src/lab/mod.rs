//! The lab: one idea of the runtime each, small enough to read, and slow enough to watch.
//!
//! Each has an endpoint under `/v1/lab`, which exists where the template's parameter `Lab` is `on`, and a step of `cargo xtask lab`, which
//! runs the endpoint's binary as Lambda would and draws what it measures.
//!
//! | Idea | Module |
//! | --- | --- |
//! | who blocks a thread, blocks whoever shares it | [`waiting`] |
//! | where slow computations belong | [`hashing`] |
//! | more threads, and what they cannot make faster | [`adding`] |
//! | a large reply, in pieces or at once | [`streaming`] |
//! | the cache, cold, warm and broken; everybody at once; one environment for one request or for many | [`caching`] |
//! | a dependency that hangs | [`hanging`] |

pub mod adding;
pub mod caching;
pub mod hanging;
pub mod hashing;
pub mod streaming;
pub mod waiting;
