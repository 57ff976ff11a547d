//! Codes that prove control of an address: for verifying it, and for resetting a password.
//!
//! The consumer that sends a mail makes its code: no outbox, queue or log ever holds one. A code has 130 random bits,
//! so its plain SHA-256 can be stored: it withstands brute force.

use ring::digest;
use serde::Deserialize;
use time::{Duration, OffsetDateTime};
use utoipa::ToSchema;

use crate::ambient::Ambient;

/// Crockford's base 32, which leaves out letters that look like digits.
const ALPHABET: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";
const LENGTH: usize = 26;

/// A code from a mail, as the user types it: 26 letters and digits; case and spaces are ignored. `Debug` redacts it.
#[derive(Clone, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(transparent)]
#[schema(value_type = String)]
pub struct MailCode(String);

/// The stored form of a code.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MailCodeProof {
    /// SHA-256.
    pub hash: Vec<u8>,
    pub expires_at: OffsetDateTime,
}

impl MailCode {
    /// A new code for the mail, and its stored form.
    #[must_use]
    pub fn issue(ambient: &Ambient, lifetime: Duration) -> (Self, MailCodeProof) {
        let text = ambient.bytes::<LENGTH>().iter().map(|byte| char::from(ALPHABET[usize::from(byte % 32)])).collect();
        let code = Self(text);
        let proof = MailCodeProof { hash: code.hash(), expires_at: ambient.now() + lifetime };
        (code, proof)
    }

    /// The hash of a typed code. Case and white space do not matter.
    #[must_use]
    pub fn hash(&self) -> Vec<u8> {
        let typed: String = self.0.chars().filter(|c| !c.is_whitespace()).map(|c| c.to_ascii_uppercase()).collect();
        digest::digest(&digest::SHA256, typed.as_bytes()).as_ref().to_vec()
    }

    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Debug for MailCode {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("MailCode(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_is_long_readable_and_stored_as_its_hash() {
        let (code, proof) = MailCode::issue(&Ambient::system(), Duration::HOUR);
        assert_eq!(code.0.len(), LENGTH);
        assert!(code.0.bytes().all(|byte| ALPHABET.contains(&byte)));
        assert_eq!(proof.hash, MailCode(format!(" {} ", code.0.to_lowercase())).hash());
        assert_ne!(code, MailCode::issue(&Ambient::system(), Duration::HOUR).0);
        assert!(!format!("{code:?}").contains(&code.0));
    }
}
