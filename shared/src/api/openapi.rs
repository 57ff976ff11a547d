//! The OpenAPI document of all endpoints.

use crate::contract::{Document, DocumentBuilder};

/// The OpenAPI document, as `openapi.json` holds it.
#[must_use]
pub fn document() -> Document {
    let document = DocumentBuilder::default();
    macro_rules! operations {
        ($($endpoint:ty,)+) => { document$(.with::<$endpoint>())+ };
    }
    let document = crate::for_each_endpoint!(operations);
    document.build("Souk", "A serverless commerce backend. Errors are problem+json (RFC 9457).")
}
