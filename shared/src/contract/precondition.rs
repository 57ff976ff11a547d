//! Preconditions. `If-Match` (RFC 9110, 13.1.1) is optimistic locking: a write applies to exactly the version that the
//! client has read. `If-None-Match` (13.1.2) makes a read conditional.

use crate::error::{ApiError, Problem};

/// Whether an endpoint requires `If-Match` or honours `If-None-Match`.
pub trait Precondition: Send + Sync + 'static {
    /// Whether `If-Match` is required.
    const REQUIRED: bool;
    /// Whether the wrapper compares `If-None-Match` with the reply's `ETag`.
    const IS_ABOUT_READING: bool = false;
    /// The handler's view of the header.
    type Version: Send;

    /// Takes the header's value.
    ///
    /// # Errors
    /// When the header is required and missing, or is not an entity tag of ours.
    fn version(header: Option<&str>) -> Result<Self::Version, ApiError>;
}

/// The header is ignored.
pub struct Unconditional;

impl Precondition for Unconditional {
    const REQUIRED: bool = false;
    type Version = ();

    fn version(_: Option<&str>) -> Result<(), ApiError> {
        Ok(())
    }
}

/// Optimistic locking: the header is required, with the `ETag` of the last read.
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

/// `If-None-Match` is optional: a reply whose `ETag` it names becomes a 304 without a body. The wrapper does it all.
pub struct IfNoneMatch;

impl Precondition for IfNoneMatch {
    const REQUIRED: bool = false;
    const IS_ABOUT_READING: bool = true;
    type Version = ();

    fn version(_: Option<&str>) -> Result<(), ApiError> {
        Ok(())
    }
}

impl IfNoneMatch {
    /// Whether the header names this entity tag. Weak comparison, as the RFC requires.
    #[must_use]
    pub fn names(header: &str, tag: &str) -> bool {
        header.split(',').map(str::trim).any(|named| named == "*" || named.strip_prefix("W/").unwrap_or(named) == tag)
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

    #[test]
    fn a_read_is_spared_by_any_of_the_named_tags() {
        for naming in ["\"7\"", "W/\"7\"", "\"6\", \"7\"", "\"6\",W/\"7\"", "*"] {
            assert!(IfNoneMatch::names(naming, &entity_tag(7)), "{naming}");
        }
        for other in ["", "7", "\"8\"", "\"77\"", "w/\"7\"", "\"6\", \"8\""] {
            assert!(!IfNoneMatch::names(other, &entity_tag(7)), "{other}");
        }
    }
}
