//! A function's binary, run without the gateway and the emulator. Any failure there fails the test.

use serde_json::Value;

pub use runtime_api::{Streamed, from_address, peak_memory};

use crate::{Stage, aws, child_log::ChildLog, template};

/// A running function. Dropping it ends the process.
pub struct Function {
    name: String,
    running: runtime_api::Function,
    /// Dropped last, when it is complete.
    _log: ChildLog,
}

impl Function {
    /// Starts the binary that the stage runs too, with its output in a log: see [`runtime_api::Function::start_logged`].
    ///
    /// # Panics
    /// When it cannot be started.
    #[must_use]
    pub fn start(name: &str, environment: &[(&str, String)]) -> Self {
        let binary = template::repository().join("target/lambda").join(name).join("bootstrap");
        let log = ChildLog::new(name);
        let running = runtime_api::Function::start_logged(&binary, &Stage::function(name), environment, log.file());
        let running = running.unwrap_or_else(|error| panic!("{}: {error}", binary.display()));
        Self { name: name.to_owned(), running, _log: log }
    }

    /// Invokes the function and waits for its reply. Threads may do so concurrently.
    ///
    /// # Panics
    /// When the function answers with an error or not in time, or its process ends.
    #[must_use]
    pub fn invoke(&self, event: &Value) -> Value {
        self.running.invoke(event).unwrap_or_else(|error| panic!("{}: {error}", self.name))
    }

    /// Invokes the function, and returns its streamed reply from the first bytes on.
    ///
    /// # Panics
    /// As [`Function::invoke`].
    #[must_use]
    pub fn stream(&self, event: &Value) -> Streamed {
        self.running.stream(event).unwrap_or_else(|error| panic!("{}: {error}", self.name))
    }

    /// The peak memory of the process, in kB.
    ///
    /// # Panics
    /// When it has ended.
    #[must_use]
    pub fn peak_memory(&self) -> u64 {
        self.running.peak_memory().expect("the process is there")
    }

    /// Invokes the function with an HTTP request from a network address, and returns its reply.
    #[must_use]
    pub fn http(&self, route_key: &str, body: &Value, address: &str) -> Value {
        self.invoke(&from_address(aws::http_event(route_key, body), address))
    }

    /// Waits until the function has done what it does after its replies: see [`runtime_api::Function::wait_until_idle`].
    ///
    /// # Panics
    /// When it does not in time, or its process ends.
    pub fn wait_until_idle(&self) {
        self.running.wait_until_idle().unwrap_or_else(|error| panic!("{}: {error}", self.name));
    }

    /// Ends the process at once (SIGKILL), in the middle of its work.
    pub fn kill(&self) {
        self.running.kill();
    }
}
