//! The contract of a function: declared once as a type, in [`crate::api`] or [`crate::background`].
//!
//! The OpenAPI document, the authorizer's route table and `cargo xtask routes` are derived from the declarations;
//! `template.yaml` is tested against them. A function's crate names its declaration in [`crate::lambda!`] and gets the
//! resources that it declares.

mod access;
mod body;
mod endpoint;
mod idempotency;
mod limit;
mod openapi;
mod params;
mod precondition;
mod resource;

pub use access::{Access, AccessRule, Public, Requires, User};
pub(crate) use body::validate;
pub use body::{FromBody, Optional, Presence, read_json};
pub use endpoint::{Endpoint, Method, Route};
pub(crate) use idempotency::payload;
pub use idempotency::{Idempotency, IdempotencyKey, Keyed, NotKeyed};
pub use limit::{Limit, Quota};
pub(crate) use openapi::reference;
pub use openapi::{Document, DocumentBuilder};
pub use params::{IdPath, NoBody, NoContent, NoPath, NoQuery, read_query};
pub use precondition::{IfMatch, IfNoneMatch, Precondition, Unconditional, entity_tag};
pub use resource::{Grant, Needs, Requirements, Resource, ResourceContext, Target};

/// A declared function of any kind.
pub trait Function: Sized + Send + Sync + 'static {
    /// The package, the binary, the directory under `functions/`, and the end of the Lambda's name.
    const NAME: &'static str;
    /// The stores, queues and secrets of the handler.
    type Needs: Needs;
    /// The event source: see [`crate::lambda`].
    type Kind;
}

/// Whether two names are the same, at compile time.
#[must_use]
pub const fn same(left: &str, right: &str) -> bool {
    let (left, right) = (left.as_bytes(), right.as_bytes());
    if left.len() != right.len() {
        return false;
    }
    let mut at = 0;
    while at < left.len() {
        if left[at] != right[at] {
            return false;
        }
        at += 1;
    }
    true
}
