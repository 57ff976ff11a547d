//! Refresh tokens with rotation (RFC 9700, 4.14.2): each works once.
//!
//! A token is the family's 128 random bits, the same for the life of the session, and a secret of 256 bits. Only hashes
//! of both are stored. Each rotation stores a random salt, and the next secret is HMAC-SHA256(secret, salt): a client
//! that presents the old secret within the grace period gets the same successor again. The store alone reveals no
//! token.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD as BASE64URL};
use ring::{digest, hmac};
use secrecy::{ExposeSecret, SecretString};

use crate::ambient::Ambient;

const FAMILY_LENGTH: usize = 16;
const SECRET_LENGTH: usize = 32;

/// The salt of a rotation: known to the store, not to the client.
pub type Salt = [u8; 32];

/// A refresh token. It has no `Debug` form, so that no log prints it.
#[derive(Clone, PartialEq, Eq)]
pub struct RefreshToken {
    family: [u8; FAMILY_LENGTH],
    secret: [u8; SECRET_LENGTH],
}

impl RefreshToken {
    /// The first token of a new family.
    #[must_use]
    pub fn new(ambient: &Ambient) -> Self {
        Self { family: ambient.bytes(), secret: ambient.bytes() }
    }

    /// Parses a presented token. `None` if its form is wrong.
    #[must_use]
    pub fn parse(text: &SecretString) -> Option<Self> {
        let bytes = BASE64URL.decode(text.expose_secret()).ok()?;
        let (family, secret) = bytes.split_at_checked(FAMILY_LENGTH)?;
        Some(Self { family: family.try_into().ok()?, secret: secret.try_into().ok()? })
    }

    /// The token as text: 64 characters, base64url.
    #[must_use]
    pub fn text(&self) -> String {
        BASE64URL.encode([&self.family[..], &self.secret].concat())
    }

    /// The stored hash of the family.
    #[must_use]
    pub fn family_hash(&self) -> Vec<u8> {
        hash(&self.family)
    }

    /// The stored hash of the secret.
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
