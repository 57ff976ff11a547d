//! A client of the API that checks every reply against the OpenAPI document.

use std::fmt::Display;

use serde_json::Value;
use ureq::http::{HeaderMap, Method, Request};

use crate::Stage;

/// A request.
pub struct Call {
    method: Method,
    path: String,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

/// A reply.
#[derive(Debug)]
pub struct Reply {
    pub status: u16,
    pub headers: HeaderMap,
    pub text: String,
}

impl Call {
    #[must_use]
    pub fn get(path: impl Into<String>) -> Self {
        Self::new(Method::GET, path)
    }

    #[must_use]
    pub fn post(path: impl Into<String>) -> Self {
        Self::new(Method::POST, path)
    }

    #[must_use]
    pub fn new(method: Method, path: impl Into<String>) -> Self {
        Self { method, path: path.into(), headers: Vec::new(), body: Vec::new() }
    }

    #[must_use]
    pub fn header(mut self, name: &str, value: impl Into<String>) -> Self {
        self.headers.push((name.to_owned(), value.into()));
        self
    }

    #[must_use]
    pub fn token(self, token: &str) -> Self {
        self.header("authorization", format!("Bearer {token}"))
    }

    #[must_use]
    pub fn key(self, key: &str) -> Self {
        self.header("idempotency-key", key)
    }

    /// A JSON body, from a value or from text that need not be JSON.
    #[must_use]
    pub fn json(self, body: impl Display) -> Self {
        self.body("application/json", body.to_string())
    }

    #[must_use]
    pub fn body(mut self, media_type: &str, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        self.header("content-type", media_type)
    }

    /// Sends the request to the stage.
    ///
    /// # Panics
    /// When there is no reply, or one that the OpenAPI document does not announce.
    #[must_use]
    pub fn send(self) -> Reply {
        let stage = Stage::get();
        let mut request = Request::builder()
            .method(&self.method)
            .uri(format!("{}{}", stage.aws_endpoint, self.path))
            .header("host", stage.host(self.method.as_str(), &self.path));
        for (name, value) in &self.headers {
            request = request.header(name, value);
        }
        let mut response = stage.agent.run(request.body(self.body).unwrap()).unwrap();
        let reply = Reply {
            status: response.status().as_u16(),
            headers: response.headers().clone(),
            text: response.body_mut().read_to_string().unwrap(),
        };
        reply.check_announced(&self.method, &self.path);
        reply
    }
}

impl Reply {
    /// The body as JSON.
    ///
    /// # Panics
    /// When the body is not JSON.
    #[must_use]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// Expects a status.
    ///
    /// # Panics
    /// When the status is another.
    #[must_use]
    pub fn expect(self, status: u16) -> Self {
        assert_eq!(self.status, status, "{self:?}");
        self
    }

    /// Expects a problem: its status, and the end of its `type`.
    ///
    /// # Panics
    /// When the reply is something else.
    #[must_use]
    pub fn expect_problem(self, status: u16, slug: &str) -> Value {
        let reply = self.expect(status);
        assert_eq!(reply.header("content-type"), Some("application/problem+json"), "{reply:?}");
        let body = reply.json();
        assert_eq!(body["type"], format!("urn:souk:problem:{slug}"), "{reply:?}");
        assert_eq!(body["status"], status, "{reply:?}");
        assert_eq!(body["requestId"].as_str(), reply.header("x-request-id"), "{reply:?}");
        body
    }

    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// The gateway's own answers cannot be problem+json; a function's answer has to be in the document.
    fn check_announced(&self, method: &Method, path: &str) {
        let from_function = self.headers.contains_key("x-request-id");
        let path = path.split('?').next().unwrap_or_default();
        let Some(operation) = operation(method, path).filter(|_| from_function) else { return };
        let announced = &operation["responses"][self.status.to_string()];
        assert!(announced.is_object(), "{method} {path} answers {} unannounced: {self:?}", self.status);
        if matches!(self.status, 204 | 304) {
            assert!(self.text.is_empty() && announced.get("content").is_none(), "{method} {path}: {self:?}");
            return;
        }
        let media_type = self.header("content-type").unwrap_or_default();
        assert!(announced["content"][media_type].is_object(), "{method} {path} answers unannounced {media_type}");
    }
}

/// The operation of a request in the OpenAPI document.
fn operation(method: &Method, path: &str) -> Option<&'static Value> {
    let matches = |template: &str| {
        let (template, path): (Vec<_>, Vec<_>) = (template.split('/').collect(), path.split('/').collect());
        template.len() == path.len() && template.iter().zip(&path).all(|(t, p)| t.starts_with('{') || t == p)
    };
    let paths = Stage::get().openapi["paths"].as_object()?;
    let (_, item) = paths.iter().find(|(template, _)| matches(template))?;
    item.get(method.as_str().to_lowercase())
}
