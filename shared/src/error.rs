//! Errors, and the one place where they become replies: problem+json (RFC 9457).
//!
//! [`Problem`] is the client's view of an error; the `cause` is logged and never sent.

use std::{borrow::Cow, error::Error, fmt, time::Duration};

use serde::Serialize;

type Cause = Box<dyn Error + Send + Sync>;

macro_rules! problems {
    ($($(#[doc = $doc:literal])+ $name:ident = $status:literal $slug:literal $title:literal,)+) => {
        /// Every kind of error in a reply. The `type` of each is stable: clients may branch on it.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Problem { $($(#[doc = $doc])+ $name,)+ }

        impl Problem {
            pub const ALL: &[Self] = &[$(Self::$name,)+];

            /// The HTTP status code.
            #[must_use]
            pub const fn status(self) -> u16 {
                match self { $(Self::$name => $status,)+ }
            }

            /// The `type`: a URN that never changes.
            #[must_use]
            pub const fn urn(self) -> &'static str {
                match self { $(Self::$name => concat!("urn:souk:problem:", $slug),)+ }
            }

            /// The `title`: one short phrase, the same for every occurrence.
            #[must_use]
            pub const fn title(self) -> &'static str {
                match self { $(Self::$name => $title,)+ }
            }
        }
    };
}

problems! {
    /// The request cannot be parsed: malformed JSON, an invalid id, bytes that are not UTF-8.
    MalformedRequest = 400 "malformed-request" "The request cannot be read",
    /// The endpoint requires an `Idempotency-Key` header.
    MissingIdempotencyKey = 400 "missing-idempotency-key" "An Idempotency-Key header is required",
    /// The code from the mail is unknown, expired, or was used before.
    InvalidCode = 400 "invalid-code" "The code is not valid",
    /// The cursor was changed, or belongs to another endpoint or other filters.
    InvalidCursor = 400 "invalid-cursor" "The cursor is not valid",
    /// The request has no valid access token.
    Unauthenticated = 401 "unauthenticated" "A valid access token is required",
    /// The credentials of the login do not match. Which of them, is not revealed.
    InvalidCredentials = 401 "invalid-credentials" "The credentials are not valid",
    /// The refresh token is unknown, expired, revoked, or was used before.
    InvalidRefreshToken = 401 "invalid-refresh-token" "The refresh token is not valid",
    /// The caller is authenticated, but may not do this.
    Forbidden = 403 "forbidden" "You may not do this",
    /// The resource does not exist, or not for this caller.
    NotFound = 404 "not-found" "Not found",
    /// The function URL takes another method; `Allow` names it.
    MethodNotAllowed = 405 "method-not-allowed" "Another method is required",
    /// `Accept` names none of the endpoint's media types.
    NotAcceptable = 406 "not-acceptable" "Not in a form that you accept",
    /// A product with this SKU exists.
    SkuTaken = 409 "sku-taken" "The SKU is taken",
    /// At least one product has fewer units than the request takes. Nothing was changed.
    OutOfStock = 409 "out-of-stock" "Not enough in stock",
    /// The order comes to more than the client expects. Nothing was changed.
    PriceChanged = 409 "price-changed" "The price has changed",
    /// The order has another status by now, from which it cannot get there. Nothing was changed.
    InvalidTransition = 409 "invalid-transition" "The order cannot become that",
    /// Another user has this e-mail address.
    EmailTaken = 409 "email-taken" "The e-mail address is taken",
    /// At least one active admin has to remain.
    LastAdmin = 409 "last-admin" "There has to be an admin",
    /// A request with the same idempotency key is in progress.
    RequestInProgress = 409 "request-in-progress" "The same request is in progress",
    /// Optimistic locking: the resource was changed since the version in `If-Match`.
    PreconditionFailed = 412 "precondition-failed" "It was changed in the meantime",
    /// The body is over 1 MiB.
    PayloadTooLarge = 413 "payload-too-large" "The body is too large",
    /// The body is not `application/json`.
    UnsupportedMediaType = 415 "unsupported-media-type" "The body must be application/json",
    /// The request is well-formed, but a value is not allowed; `errors` has the details.
    ValidationFailed = 422 "validation-failed" "A value is not allowed",
    /// The idempotency key was used for another payload.
    IdempotencyKeyReused = 422 "idempotency-key-reused" "The idempotency key belongs to another request",
    /// The endpoint requires an `If-Match` header.
    PreconditionRequired = 428 "precondition-required" "An If-Match header is required",
    /// The rate limit of this account or this address is exceeded; `RateLimit` has the quota.
    TooManyRequests = 429 "too-many-requests" "Too many requests",
    /// A defect of the server.
    Internal = 500 "internal" "Something went wrong",
    /// A store or a queue does not answer; a retry after `Retry-After` may succeed.
    Unavailable = 503 "unavailable" "Temporarily unavailable",
}

/// An invalid field.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct FieldError {
    /// Path into the body: `lines[0].quantity`.
    pub field: String,
    /// Why the value is invalid.
    pub detail: String,
}

/// An error with its problem, its cause and the headers of its reply.
#[derive(Debug)]
pub struct ApiError(Box<Inner>);

#[derive(Debug)]
struct Inner {
    problem: Problem,
    detail: Option<Cow<'static, str>>,
    errors: Vec<FieldError>,
    retry_after: Option<Duration>,
    headers: Vec<(&'static str, String)>,
    cause: Option<Cause>,
    is_contention: bool,
}

impl From<Problem> for ApiError {
    fn from(problem: Problem) -> Self {
        let retry_after = (problem == Problem::Unavailable).then_some(Duration::from_secs(1));
        Self(Box::new(Inner {
            problem,
            detail: None,
            errors: Vec::new(),
            retry_after,
            headers: Vec::new(),
            cause: None,
            is_contention: false,
        }))
    }
}

impl ApiError {
    /// A problem with a sentence for the client about this occurrence.
    pub fn new(problem: Problem, detail: impl Into<Cow<'static, str>>) -> Self {
        let mut error = Self::from(problem);
        error.0.detail = Some(detail.into());
        error
    }

    /// One field is invalid.
    pub fn field(field: impl Into<String>, detail: impl Into<String>) -> Self {
        Self::fields(vec![FieldError { field: field.into(), detail: detail.into() }])
    }

    /// Some fields are invalid.
    #[must_use]
    pub fn fields(errors: Vec<FieldError>) -> Self {
        let mut error = Self::from(Problem::ValidationFailed);
        error.0.errors = errors;
        error
    }

    /// A defect: the cause is logged, and the client sees none of it.
    pub fn internal(cause: impl Into<Cause>) -> Self {
        let mut error = Self::from(Problem::Internal);
        error.0.cause = Some(cause.into());
        error
    }

    /// A dependency does not answer.
    pub fn unavailable(cause: impl Into<Cause>) -> Self {
        let mut error = Self::from(Problem::Unavailable);
        error.0.cause = Some(cause.into());
        error
    }

    /// A deadlock: the same transaction may succeed at once.
    pub fn contended(cause: impl Into<Cause>) -> Self {
        let mut error = Self::unavailable(cause);
        error.0.is_contention = true;
        error
    }

    /// Whether the same transaction may succeed at once.
    #[must_use]
    pub fn is_contention(&self) -> bool {
        self.0.is_contention
    }

    /// The same error with a header for its reply. `name` is in lower case.
    #[must_use]
    pub fn header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.0.headers.push((name, value.into()));
        self
    }

    /// The same error with a time to wait before a retry.
    #[must_use]
    pub fn after(mut self, wait: Duration) -> Self {
        self.0.retry_after = Some(wait);
        self
    }

    #[must_use]
    pub fn problem(&self) -> Problem {
        self.0.problem
    }

    /// The time to wait before a retry.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        self.0.retry_after
    }

    /// Headers for its reply.
    #[must_use]
    pub fn headers(&self) -> &[(&'static str, String)] {
        &self.0.headers
    }

    /// The cause with its whole chain, for the log.
    #[must_use]
    pub fn cause(&self) -> Option<String> {
        self.0.cause.as_ref().map(|cause| chain(cause.as_ref()))
    }

    /// The reply's body.
    #[must_use]
    pub fn document<'a>(&'a self, request_id: &'a str) -> ProblemDocument<'a> {
        let Inner { problem, detail, errors, .. } = &*self.0;
        ProblemDocument {
            kind: problem.urn(),
            title: problem.title(),
            status: problem.status(),
            detail: detail.as_deref(),
            errors,
            request_id,
        }
    }
}

impl fmt::Display for ApiError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.problem.title())?;
        self.cause().map_or(Ok(()), |cause| write!(f, ": {cause}"))
    }
}

/// An error and its chain of causes, in one line.
#[must_use]
pub fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        let next = error.to_string();
        // Many errors already repeat their source in their own text.
        if !text.contains(&next) {
            text.push_str(": ");
            text.push_str(&next);
        }
        source = error.source();
    }
    text
}

/// The body of every error reply (RFC 9457).
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Problem)]
pub struct ProblemDocument<'a> {
    /// The kind of problem, as a stable URN.
    #[serde(rename = "type")]
    kind: &'static str,
    /// The kind of problem, as a short phrase.
    title: &'static str,
    /// The HTTP status code.
    status: u16,
    /// Details of this occurrence.
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<&'a str>,
    /// The invalid fields.
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    errors: &'a [FieldError],
    /// The request's id in the logs.
    request_id: &'a str,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cause_never_reaches_the_client() {
        let error = ApiError::internal("password=hunter2");
        let body = serde_json::to_string(&error.document("r-1")).unwrap();
        assert!(!body.contains("hunter2"), "{body}");
        assert_eq!(error.cause().as_deref(), Some("password=hunter2"));
    }

    #[test]
    fn every_problem_has_a_type_of_its_own() {
        let urns: std::collections::HashSet<_> = Problem::ALL.iter().map(|problem| problem.urn()).collect();
        assert_eq!(urns.len(), Problem::ALL.len());
    }

    #[test]
    fn a_document_has_the_members_of_rfc_9457() {
        let body = serde_json::to_value(ApiError::field("sku", "is empty").document("r-1")).unwrap();
        assert_eq!(
            body,
            serde_json::json!({
                "type": "urn:souk:problem:validation-failed",
                "title": "A value is not allowed",
                "status": 422,
                "errors": [{ "field": "sku", "detail": "is empty" }],
                "requestId": "r-1",
            })
        );
    }
}
