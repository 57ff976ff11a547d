//! The few calls to the stage's AWS that this tool makes itself.
//!
//! MiniStack reads the caller from the `Authorization` header but does not verify the signature, so none is made.

mod cloudformation;
mod gateway;
mod lambda;
mod logs;
mod mail;
mod parameters;
mod xml;

use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::Value;
use ureq::http::{Method, Request, Response};
use ureq::{Agent, Body};

pub use cloudformation::StackState;
pub use gateway::{Authorizer, Route};
pub use lambda::{BUCKET, Function};
pub use logs::LogEvent;

use crate::stage::{ACCESS_KEY_ID, REGION, Stage};

/// Of one call: a deployed function may be invoked by it.
const TIMEOUT: Duration = Duration::from_secs(90);
const HEALTH_TIMEOUT: Duration = Duration::from_secs(2);

pub struct Aws {
    agent: Agent,
    endpoint: String,
}

/// An error reply of AWS.
#[derive(Debug)]
pub struct AwsError {
    pub code: String,
    message: String,
}

impl std::error::Error for AwsError {}

impl std::fmt::Display for AwsError {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{}: {}", self.code, self.message)
    }
}

impl Aws {
    pub fn of(stage: &Stage) -> Self {
        let config = Agent::config_builder().http_status_as_error(false).timeout_global(Some(TIMEOUT));
        Self { agent: Agent::new_with_config(config.build()), endpoint: stage.aws_endpoint() }
    }

    pub fn is_healthy(&self) -> bool {
        let url = format!("{}/_ministack/health", self.endpoint);
        let request = self.agent.get(url).config().timeout_global(Some(HEALTH_TIMEOUT)).build();
        request.call().is_ok_and(|reply| reply.status() == 200)
    }

    /// A call of a service with the JSON protocol: SSM, Secrets Manager, CloudWatch Logs.
    fn json(&self, service: &str, target: &str, body: &Value) -> Result<Value> {
        let request = self
            .request(service, &Method::POST, "/")
            .header("x-amz-target", target)
            .header("content-type", "application/x-amz-json-1.1")
            .body(body.to_string().into_bytes())?;
        self.send(request).with_context(|| target.to_owned())
    }

    /// A call of a service with the REST protocol: Lambda, API Gateway, SES.
    fn rest(&self, service: &str, method: &Method, path: &str, body: Option<&Value>) -> Result<Value> {
        let bytes = body.map(|body| body.to_string().into_bytes()).unwrap_or_default();
        let request = self.request(service, method, path).header("content-type", "application/json").body(bytes)?;
        self.send(request).with_context(|| format!("{method} {path}"))
    }

    fn request(&self, service: &str, method: &Method, path: &str) -> ureq::http::request::Builder {
        let scope = format!("{ACCESS_KEY_ID}/20260101/{REGION}/{service}/aws4_request");
        let signature = format!("AWS4-HMAC-SHA256 Credential={scope}, SignedHeaders=host, Signature=0");
        Request::builder().method(method).uri(format!("{}{path}", self.endpoint)).header("authorization", signature)
    }

    fn send(&self, request: Request<Vec<u8>>) -> Result<Value> {
        let mut reply = self.agent.run(request)?;
        let text = read(&mut reply)?;
        let body: Value = serde_json::from_str(&text).unwrap_or(Value::Null);
        if reply.status().is_success() {
            return Ok(body);
        }
        let status = reply.status();
        let header = reply.headers().get("x-amzn-errortype").and_then(|value| value.to_str().ok());
        let code = body["__type"].as_str().or(body["Code"].as_str()).or(header).unwrap_or(status.as_str());
        let message = body["message"].as_str().or(body["Message"].as_str()).unwrap_or(&text);
        Err(AwsError { code: code.to_owned(), message: message.to_owned() }.into())
    }
}

fn read(reply: &mut Response<Body>) -> Result<String> {
    Ok(reply.body_mut().with_config().limit(64 << 20).lossy_utf8(true).read_to_string()?)
}

/// Turns a `NotFound` error into `None`.
fn optional<T>(result: Result<T>) -> Result<Option<T>> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.downcast_ref::<AwsError>().is_some_and(|error| error.code.contains("NotFound")) => Ok(None),
        Err(error) => Err(error),
    }
}
