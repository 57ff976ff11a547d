//! The `If-Match` header (RFC 9110, 13.1.1): a change of exactly the version that the client has seen.

use crate::error::{ApiError, Problem};

/// Whether an endpoint asks for an `If-Match` header.
pub trait Precondition: Send + Sync + 'static {
    const REQUIRED: bool;
    /// What the handler gets of it.
    type Version: Send;

    /// Takes the header's value.
    ///
    /// # Errors
    /// When the header is required and missing, or is not an entity tag of ours.
    fn version(header: Option<&str>) -> Result<Self::Version, ApiError>;
}

/// The header is not looked at.
pub struct Unconditional;

impl Precondition for Unconditional {
    const REQUIRED: bool = false;
    type Version = ();

    fn version(_: Option<&str>) -> Result<(), ApiError> {
        Ok(())
    }
}

/// The header is required, with the `ETag` of what was read.
pub struct IfMatch;

impl Precondition for IfMatch {
    const REQUIRED: bool = true;
    type Version = u64;

    fn version(header: Option<&str>) -> Result<u64, ApiError> {
        let tag = header.ok_or(Problem::PreconditionRequired)?;
        let version = tag.strip_prefix('"').and_then(|tag| tag.strip_suffix('"')).and_then(|tag| tag.parse().ok());
        version
            .ok_or_else(|| ApiError::new(Problem::MalformedRequest, "If-Match takes one entity tag, as ETag gave it"))
    }
}

/// The entity tag of a version.
#[must_use]
pub fn entity_tag(version: u64) -> String {
    format!("\"{version}\"")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_survives_its_entity_tag() {
        assert_eq!(IfMatch::version(Some(&entity_tag(7))).unwrap(), 7);
        assert_eq!(IfMatch::version(None).unwrap_err().problem(), Problem::PreconditionRequired);
        for bad in ["7", "*", "W/\"7\"", "\"7\", \"8\"", "\"\"", "\"-1\"", "\"x\""] {
            assert_eq!(IfMatch::version(Some(bad)).unwrap_err().problem(), Problem::MalformedRequest, "{bad}");
        }
    }
}
