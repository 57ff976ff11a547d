//! One environment of a function: a process that serves requests.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use runtime_api::{Function, Streamed, http_event};
use serde_json::{Value, json};

/// The reactor's threads, so that the figures compare across machines: as many as the smaller managed instances have
/// cores.
const REACTOR_THREADS: u32 = 2;

/// A running function of the lab.
pub struct Environment {
    route_key: String,
    function: Function,
}

impl Environment {
    /// Starts an environment.
    pub fn start(root: &Path, name: &str, concurrency: u32, variables: &[(&str, String)]) -> Result<Self> {
        let binary = root.join("target/lambda").join(name).join("bootstrap");
        let mut all = vec![
            ("AWS_LAMBDA_MAX_CONCURRENCY", concurrency.to_string()),
            ("TOKIO_WORKER_THREADS", REACTOR_THREADS.to_string()),
            // Warnings, such as about a hanging Redis, are expected here.
            (shared::environment::LOG_LEVEL, "ERROR".to_owned()),
        ];
        all.extend_from_slice(variables);
        let function = Function::start(&binary, &format!("souk-local-{name}"), &all);
        let function = function.with_context(|| format!("cannot start {}", binary.display()))?;
        let path = name.replacen("lab-", "/v1/lab/", 1);
        Ok(Self { route_key: format!("GET {path}"), function })
    }

    /// Sends a request, and returns the body of its reply.
    pub fn get(&self, query: &str) -> Result<Value> {
        let reply = self.function.invoke(&self.event(query))?;
        ensure!(reply["statusCode"] == 200, "{} with {query}: {reply}", self.route_key);
        Ok(serde_json::from_str(reply["body"].as_str().unwrap_or_default())?)
    }

    /// Sends a request, and returns its streamed reply.
    pub fn stream(&self, query: &str) -> Result<Streamed> {
        let reply = self.function.stream(&self.event(query))?;
        ensure!(reply.status == 200, "{} with {query}: {}", self.route_key, reply.status);
        Ok(reply)
    }

    fn event(&self, query: &str) -> Value {
        let mut event = http_event(&self.route_key, &Value::Null);
        event["rawQueryString"] = json!(query);
        event
    }

    /// Its peak memory, in MB.
    pub fn peak_memory(&self) -> Result<f64> {
        let kilobytes = self.function.peak_memory().context("the function has ended")?;
        Ok(f64::from(u32::try_from(kilobytes)?) / 1024.0)
    }
}
