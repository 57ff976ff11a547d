//! Refresh tokens: what a client holds of a session, new after every use (RFC 9700, 4.14.2).
//!
//! A token is the family's 128 random bits, the same for the life of the session, and a secret of 256 bits. Only hashes of both
//! are stored. Each rotation stores a random salt, and the next secret is HMAC-SHA256(secret, salt): so whoever held the old secret can
//! be handed the same successor again, within the grace window, and the store alone tells nobody any token.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD as BASE64URL};
use ring::{digest, hmac};
use secrecy::{ExposeSecret, SecretString};

use crate::ambient::Ambient;

const FAMILY_LENGTH: usize = 16;
const SECRET_LENGTH: usize = 32;

/// What a rotation adds, so that the store knows something that the token does not.
pub type Salt = [u8; 32];

/// A refresh token. Not printable by accident: it has no `Debug` form.
#[derive(Clone, PartialEq, Eq)]
pub struct RefreshToken {
    family: [u8; FAMILY_LENGTH],
    secret: [u8; SECRET_LENGTH],
}

impl RefreshToken {
    /// The first of a new family.
    #[must_use]
    pub fn new(ambient: &Ambient) -> Self {
        Self { family: ambient.bytes(), secret: ambient.bytes() }
    }

    /// Reads what a client presents. What is not a token of ours by its form is none.
    #[must_use]
    pub fn parse(text: &SecretString) -> Option<Self> {
        let bytes = BASE64URL.decode(text.expose_secret()).ok()?;
        let (family, secret) = bytes.split_at_checked(FAMILY_LENGTH)?;
        Some(Self { family: family.try_into().ok()?, secret: secret.try_into().ok()? })
    }

    /// What the client is given: 64 characters, base64url.
    #[must_use]
    pub fn text(&self) -> String {
        BASE64URL.encode([&self.family[..], &self.secret].concat())
    }

    /// What is stored of its family.
    #[must_use]
    pub fn family_hash(&self) -> Vec<u8> {
        hash(&self.family)
    }

    /// What is stored of its secret.
    #[must_use]
    pub fn secret_hash(&self) -> Vec<u8> {
        hash(&self.secret)
    }

    /// The token that follows this one.
    #[must_use]
    pub fn successor(&self, salt: &Salt) -> Self {
        let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &self.secret), salt);
        let mut secret = [0; SECRET_LENGTH];
        secret.copy_from_slice(tag.as_ref());
        Self { family: self.family, secret }
    }
}

fn hash(bytes: &[u8]) -> Vec<u8> {
    digest::digest(&digest::SHA256, bytes).as_ref().to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_survives_its_text_and_other_text_is_none() {
        let token = RefreshToken::new(&Ambient::system());
        assert!(RefreshToken::parse(&token.text().into()) == Some(token.clone()));
        assert_eq!(token.text().len(), 64);
        for other in ["", "x", &token.text()[1..], &format!("{}A", token.text()), "!".repeat(64).as_str()] {
            assert!(RefreshToken::parse(&other.into()).is_none(), "{other}");
        }
    }

    #[test]
    fn a_successor_is_the_same_for_the_same_salt_only() {
        let ambient = Ambient::system();
        let token = RefreshToken::new(&ambient);
        let (salt, other) = (ambient.bytes(), ambient.bytes());
        assert!(token.successor(&salt) == token.successor(&salt));
        assert!(token.successor(&salt) != token.successor(&other));
        assert_eq!(token.family_hash(), token.successor(&salt).family_hash());
        assert_ne!(token.secret_hash(), token.successor(&salt).secret_hash());
    }
}
