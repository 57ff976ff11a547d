//! The `Idempotency-Key` header (IETF draft-ietf-httpapi-idempotency-key-header).

use std::borrow::Cow;

use ring::digest;

use crate::error::{ApiError, Problem};

/// The most characters of a key.
const MAX_LENGTH: usize = 255;

/// An idempotency key: the client's name for one request, with a hash of its payload.
#[derive(Clone, Debug)]
pub struct IdempotencyKey {
    key: String,
    payload_hash: Vec<u8>,
}

impl IdempotencyKey {
    /// Takes the header's value and the payload.
    ///
    /// # Errors
    /// When there is no header, or it is not 1 to 255 visible ASCII characters.
    pub fn new(header: Option<&str>, payload: &[u8]) -> Result<Self, ApiError> {
        let key = header.ok_or(Problem::MissingIdempotencyKey)?;
        if key.is_empty() || key.len() > MAX_LENGTH || !key.bytes().all(|byte| byte.is_ascii_graphic()) {
            let detail = "The Idempotency-Key header takes 1 to 255 visible ASCII characters";
            return Err(ApiError::new(Problem::MalformedRequest, detail));
        }
        let payload_hash = digest::digest(&digest::SHA256, payload).as_ref().to_vec();
        Ok(Self { key: key.to_owned(), payload_hash })
    }

    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.key
    }

    /// SHA-256 of the payload.
    #[must_use]
    pub fn payload_hash(&self) -> &[u8] {
        &self.payload_hash
    }
}

/// Whether an endpoint requires an `Idempotency-Key` header.
pub trait Idempotency: Send + Sync + 'static {
    const REQUIRED: bool;
    /// The handler's view of the header.
    type Key: Send;

    /// Takes the header's value and the payload.
    ///
    /// # Errors
    /// When the header is required and missing, or is not a key.
    fn key(header: Option<&str>, payload: &[u8]) -> Result<Self::Key, ApiError>;
}

/// The header is ignored.
pub struct NotKeyed;

impl Idempotency for NotKeyed {
    const REQUIRED: bool = false;
    type Key = ();

    fn key(_: Option<&str>, _: &[u8]) -> Result<(), ApiError> {
        Ok(())
    }
}

/// The header is required. The handler runs its work with `Request::once`.
pub struct Keyed;

impl Idempotency for Keyed {
    const REQUIRED: bool = true;
    type Key = IdempotencyKey;

    fn key(header: Option<&str>, payload: &[u8]) -> Result<IdempotencyKey, ApiError> {
        IdempotencyKey::new(header, payload)
    }
}

/// The payload of a request: its path parameters and its body. Length prefixes keep two different requests from having
/// the same payload.
pub(crate) fn payload<'a>(path: &[(&str, Cow<'_, str>)], body: &'a [u8]) -> Cow<'a, [u8]> {
    if path.is_empty() {
        return Cow::Borrowed(body);
    }
    let mut parameters = path.to_vec();
    parameters.sort_unstable();
    let mut payload = Vec::with_capacity(body.len() + 64);
    for (name, value) in parameters {
        payload.extend(format!("{}:{name}={}:{value}\n", name.len(), value.len()).bytes());
    }
    payload.extend(body);
    Cow::Owned(payload)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_visible_ascii_of_bounded_length() {
        for good in ["a", "6ba7b810-9dad-11d1-80b4-00c04fd430c8", &"k".repeat(255)] {
            assert!(IdempotencyKey::new(Some(good), b"{}").is_ok(), "{good}");
        }
        for bad in ["", " ", "a b", "ä", "a\n", &"k".repeat(256)] {
            let error = IdempotencyKey::new(Some(bad), b"{}").unwrap_err();
            assert_eq!(error.problem(), Problem::MalformedRequest, "{bad:?}");
        }
        assert_eq!(IdempotencyKey::new(None, b"{}").unwrap_err().problem(), Problem::MissingIdempotencyKey);
    }

    #[test]
    fn the_same_body_for_another_path_is_another_request() {
        let payloads = [
            payload(&[], b"{}"),
            payload(&[("id", "1".into())], b"{}"),
            payload(&[("id", "2".into())], b"{}"),
            payload(&[("id", "1".into()), ("line", "2".into())], b"{}"),
            payload(&[("id", "1\n4:line=1:2".into())], b"{}"),
        ];
        let different: std::collections::HashSet<_> = payloads.iter().collect();
        assert_eq!(different.len(), payloads.len());
        assert_eq!(*payloads[0], b"{}"[..]);
    }
}
