//! What a handler answers.

use lambda_http::{
    Body, Response,
    http::{HeaderName, HeaderValue, StatusCode, header},
};
use serde::Serialize;

use crate::{contract::entity_tag, error::ApiError};

/// A successful reply: a value, or the JSON text of one, and headers. A plain value turns into one.
pub struct Reply<T> {
    content: Content<T>,
    headers: Vec<(HeaderName, String)>,
    status: Option<u16>,
}

enum Content<T> {
    Value(T),
    Json(String),
}

impl<T> From<T> for Reply<T> {
    fn from(value: T) -> Self {
        Self { content: Content::Value(value), headers: Vec::new(), status: None }
    }
}

impl<T: Serialize> Reply<T> {
    /// A reply with the entity tag of this version.
    #[must_use]
    pub fn versioned(value: T, version: u64) -> Self {
        Self::from(value).version(version)
    }

    /// Adds the entity tag of this version.
    #[must_use]
    pub fn version(self, version: u64) -> Self {
        self.header("etag", entity_tag(version))
    }

    /// A reply whose JSON text is there already: from the cache, or kept for a repeated request.
    #[must_use]
    pub fn json(text: String) -> Self {
        Self { content: Content::Json(text), headers: Vec::new(), status: None }
    }

    /// The JSON text, if that is what it was made of.
    #[must_use]
    pub fn text(&self) -> Option<&str> {
        match &self.content {
            Content::Value(_) => None,
            Content::Json(text) => Some(text),
        }
    }

    /// Adds a header. `name` is in lower case.
    #[must_use]
    pub fn header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((HeaderName::from_static(name), value.into()));
        self
    }

    /// Answers with another status than the declared one.
    #[must_use]
    pub fn status(mut self, status: u16) -> Self {
        self.status = Some(status);
        self
    }

    pub(super) fn into_response(self, status: u16) -> Result<Response<Body>, ApiError> {
        let status = self.status.unwrap_or(status);
        let text = match self.content {
            Content::Value(value) => serde_json::to_string(&value).map_err(ApiError::internal)?,
            Content::Json(text) => text,
        };
        let mut response = response(status, "application/json", text);
        if response.status() == StatusCode::NO_CONTENT {
            response.headers_mut().clear();
            *response.body_mut() = Body::Empty;
        }
        for (name, value) in self.headers {
            response.headers_mut().insert(name, HeaderValue::try_from(value).map_err(ApiError::internal)?);
        }
        Ok(response)
    }
}

/// The reply without what the client has already.
pub(super) fn not_modified(mut response: Response<Body>) -> Response<Body> {
    *response.status_mut() = StatusCode::NOT_MODIFIED;
    response.headers_mut().remove(header::CONTENT_TYPE);
    *response.body_mut() = Body::Empty;
    response
}

/// The reply to a request that failed.
pub(super) fn problem(error: &ApiError, request_id: &str) -> Response<Body> {
    let text = serde_json::to_string(&error.document(request_id)).unwrap_or_default();
    let mut response = response(error.problem().status(), "application/problem+json", text);
    if let Some(wait) = error.retry_after() {
        response.headers_mut().insert(header::RETRY_AFTER, wait.as_secs().max(1).into());
    }
    for (name, value) in error.headers() {
        if let Ok(value) = HeaderValue::try_from(value) {
            response.headers_mut().insert(HeaderName::from_static(name), value);
        }
    }
    response
}

fn response(status: u16, media_type: &'static str, text: String) -> Response<Body> {
    let mut response = Response::new(Body::Text(text));
    *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(media_type));
    response
}
