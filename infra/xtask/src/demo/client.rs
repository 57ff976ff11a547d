//! An HTTP client that prints its requests and replies.

use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;
use ureq::Agent;
use ureq::http::{HeaderMap, Method, Request};

use crate::progress::say;

/// The most characters of a body that are printed.
const MAX_PRINTED_CHARS: usize = 160;
/// Of one call, cold start included.
const TIMEOUT: Duration = Duration::from_mins(1);

pub struct Api {
    agent: Agent,
    host: String,
    port: u16,
}

/// One request. A part that is `None` is not sent.
#[derive(Default)]
pub struct Call<'a> {
    pub token: Option<&'a str>,
    pub idempotency_key: Option<&'a str>,
    pub body: Option<Value>,
}

pub struct Reply {
    pub status: u16,
    headers: HeaderMap,
    pub text: String,
    pub json: Value,
}

impl Api {
    pub fn new(url: &str, port: u16) -> Result<Self> {
        let host = url.strip_prefix("http://").context("the API's URL is not http")?.to_owned();
        let config = Agent::config_builder().http_status_as_error(false).timeout_global(Some(TIMEOUT));
        Ok(Self { agent: Agent::new_with_config(config.build()), host, port })
    }

    pub fn get(&self, path: &str, token: Option<&str>) -> Result<Reply> {
        self.call(&Method::GET, path, Call { token, ..Call::default() })
    }

    pub fn post(&self, path: &str, call: Call) -> Result<Reply> {
        self.call(&Method::POST, path, call)
    }

    pub fn delete(&self, path: &str, token: &str) -> Result<Reply> {
        self.call(&Method::DELETE, path, Call { token: Some(token), ..Call::default() })
    }

    /// Connects by address, with the API's name in `Host`: not every machine resolves names below `localhost`.
    fn call(&self, method: &Method, path: &str, call: Call) -> Result<Reply> {
        let mut request = Request::builder()
            .method(method)
            .uri(format!("http://127.0.0.1:{}{path}", self.port))
            .header("host", &self.host)
            .header("content-type", "application/json");
        if let Some(token) = call.token {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        if let Some(key) = call.idempotency_key {
            request = request.header("idempotency-key", key);
        }
        let body = call.body.map(|body| body.to_string()).unwrap_or_default();
        say!("  → {method} {path} {}", short(&body));
        let mut response = self.agent.run(request.body(body.into_bytes())?)?;
        let text = response.body_mut().read_to_string()?;
        let reply = Reply {
            status: response.status().as_u16(),
            headers: response.headers().clone(),
            json: serde_json::from_str(&text).unwrap_or_default(),
            text,
        };
        say!("  ← {} {}", reply.status, short(&reply.text));
        Ok(reply)
    }
}

impl Reply {
    pub fn expect(self, status: u16) -> Result<Self> {
        ensure!(self.status == status, "expected status {status}, saw {}: {}", self.status, self.text);
        Ok(self)
    }

    pub fn expect_header(&self, name: &str, expected: &str) -> Result<()> {
        let seen = self.headers.get(name).and_then(|value| value.to_str().ok());
        if seen != Some(expected) {
            bail!("expected the header `{name}: {expected}`, saw {}", seen.unwrap_or("none"));
        }
        say!("    {name}: {expected}");
        Ok(())
    }

    pub fn expect_field(&self, pointer: &str, expected: &Value) -> Result<()> {
        let seen = self.json.pointer(pointer).unwrap_or(&Value::Null);
        ensure!(seen == expected, "expected {pointer} to be {expected}, saw {seen} in {}", self.text);
        Ok(())
    }

    pub fn string(&self, key: &str) -> Result<String> {
        self.json[key].as_str().map(str::to_owned).with_context(|| format!("expected `{key}` in {}", self.text))
    }
}

/// A body as it is printed: redacted passwords, only the beginning of tokens, long ones cut.
fn short(text: &str) -> String {
    let Ok(Value::Object(mut fields)) = serde_json::from_str::<Value>(text) else {
        return text.chars().take(MAX_PRINTED_CHARS).collect();
    };
    for (key, value) in &mut fields {
        match (key.as_str(), value.as_str()) {
            ("password" | "code", _) => *value = "…".into(),
            ("accessToken" | "refreshToken", Some(token)) => {
                *value = format!("{}…", token.chars().take(12).collect::<String>()).into();
            }
            _ => {}
        }
    }
    let text = Value::Object(fields).to_string();
    let cut: String = text.chars().take(MAX_PRINTED_CHARS).collect();
    if cut.len() < text.len() { cut + "…" } else { cut }
}

#[cfg(test)]
mod tests {
    use super::short;

    #[test]
    fn secrets_are_not_shown() {
        let shown = short(r#"{"password":"hunter2","accessToken":"abcdefghijklmnopq","email":"a@b.c"}"#);
        assert!(!shown.contains("hunter2") && !shown.contains("mnopq"), "{shown}");
        assert!(shown.contains("a@b.c"), "{shown}");
    }
}
