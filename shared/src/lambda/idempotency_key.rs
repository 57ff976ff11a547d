//! The `Idempotency-Key` header (IETF draft-ietf-httpapi-idempotency-key-header).

use ring::digest;

use crate::error::{ApiError, Problem};

const MAX_LENGTH: usize = 255;

/// A client's name for one request, with a hash of what was requested.
#[derive(Clone, Debug)]
pub struct IdempotencyKey {
    key: String,
    payload_hash: Vec<u8>,
}

impl IdempotencyKey {
    /// Takes the header's value and the body it came with.
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

    /// SHA-256 of the body's bytes.
    #[must_use]
    pub fn payload_hash(&self) -> &[u8] {
        &self.payload_hash
    }
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
}
