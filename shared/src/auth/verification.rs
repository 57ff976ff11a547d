//! Codes that prove that somebody reads the mail of an address.
//!
//! A code has 130 random bits, so its plain SHA-256 can be stored: nobody can try them all.

use ring::digest;
use time::{Duration, OffsetDateTime};

use crate::ambient::Ambient;

/// How long a code proves something.
const LIFETIME: Duration = Duration::hours(24);
/// Crockford's base 32: no letter that is taken for a digit.
const ALPHABET: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";
const LENGTH: usize = 26;

/// A new code for the mail, and what is stored of it: its hash, and until when it is valid.
#[must_use]
pub fn issue(ambient: &Ambient) -> (String, (Vec<u8>, OffsetDateTime)) {
    let code: String =
        ambient.bytes::<LENGTH>().iter().map(|byte| char::from(ALPHABET[usize::from(byte % 32)])).collect();
    let stored = (hash(&code), ambient.now() + LIFETIME);
    (code, stored)
}

/// What is stored of a code.
#[must_use]
pub fn hash(code: &str) -> Vec<u8> {
    digest::digest(&digest::SHA256, code.as_bytes()).as_ref().to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_is_long_readable_and_stored_as_its_hash() {
        let (code, (stored, _)) = issue(&Ambient::system());
        assert_eq!(code.len(), LENGTH);
        assert!(code.bytes().all(|byte| ALPHABET.contains(&byte)));
        assert_eq!(stored, hash(&code));
        assert_ne!(code, issue(&Ambient::system()).0);
    }
}
