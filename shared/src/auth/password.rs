//! Passwords: which are accepted, and argon2id hashing off the reactor.
//!
//! Parameters are those that OWASP's password storage cheat sheet gives for argon2id: 19 MiB, two passes, one lane.

use std::{collections::HashSet, sync::LazyLock};

use argon2::{Algorithm, Argon2, Params, PasswordHasher, PasswordVerifier, Version, password_hash::phc::PasswordHash};
use garde::Validate;
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use tokio::sync::Semaphore;
use unicode_normalization::UnicodeNormalization;
use utoipa::ToSchema;

use crate::{ambient::Ambient, error::ApiError};

/// The fewest characters of a password.
const MIN_LENGTH: usize = 12;
/// The most characters of a password. All of them count; none is cut off.
const MAX_LENGTH: usize = 128;
/// Bulkhead: the most concurrent hashes of one environment; each takes 19 MiB.
const MAX_CONCURRENT_HASHES: usize = 4;

/// A hash of no password, in the current parameters: verified against for unknown users, so that they take the same
/// time.
const DUMMY_HASH: &str =
    "$argon2id$v=19$m=19456,t=2,p=1$c291ay1ub2JvZHktc2FsdA$KYtWyjXKoJIQy0tUj9l7VYxOZ0n6Ypn9iq6cVYWvq0w";

/// The 3,000 most common passwords, and those of the 30,000 most common that are long enough: the list of zxcvbn (MIT
/// licence), taken from leaks.
const COMMON_PASSWORDS: &str = include_str!("common_passwords.txt");

/// A password, normalised (NFC, as RFC 8265 requires), so that it is the same on every keyboard.
#[derive(Clone, Deserialize, ToSchema)]
#[serde(from = "SecretString")]
#[schema(value_type = String, format = Password)]
pub struct Password(SecretString);

impl From<SecretString> for Password {
    fn from(typed: SecretString) -> Self {
        Self(typed.expose_secret().nfc().collect::<String>().into())
    }
}

impl From<&str> for Password {
    fn from(typed: &str) -> Self {
        SecretString::from(typed).into()
    }
}

/// A password to set: 12 to 128 characters of any kind, and not a common one.
#[derive(Clone, Deserialize, Validate, ToSchema)]
#[serde(transparent)]
#[garde(transparent)]
#[schema(value_type = String, format = Password, min_length = 12, max_length = 128)]
pub struct NewPassword(#[garde(custom(acceptable))] pub Password);

fn acceptable(password: &Password, (): &()) -> garde::Result {
    let text = password.0.expose_secret();
    if !(MIN_LENGTH..=MAX_LENGTH).contains(&text.chars().count()) {
        return Err(garde::Error::new("takes 12 to 128 characters"));
    }
    if is_common(text) {
        return Err(garde::Error::new("is too common"));
    }
    Ok(())
}

/// Whether a password is a common one, or two of them concatenated.
fn is_common(password: &str) -> bool {
    static WORDS: LazyLock<HashSet<&str>> = LazyLock::new(|| COMMON_PASSWORDS.lines().collect());
    let lower = password.to_lowercase();
    let mut cuts = lower.char_indices().map(|(index, _)| lower.split_at(index));
    cuts.any(|(start, end)| (start.is_empty() || WORDS.contains(start)) && WORDS.contains(end))
}

fn argon2() -> Argon2<'static> {
    let params = Params::new(19 * 1024, 2, 1, None).expect("these parameters are in range");
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
}

/// The result of verifying a password.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verified {
    No,
    Yes,
    /// It matches, and here is a hash in the current parameters to replace the old one.
    Upgraded(String),
}

/// Hashes a password with a fresh salt, on a thread of its own. Takes tens of milliseconds and 19 MiB.
///
/// # Errors
/// When no thread or memory is available.
pub async fn hash(password: &Password, ambient: &Ambient) -> Result<String, ApiError> {
    let (password, salt) = (password.clone(), ambient.bytes::<16>());
    off_reactor(move || hash_with(&password, &salt)).await?.map_err(|error| ApiError::internal(error.to_string()))
}

/// Whether the password matches the hash. Without a hash the answer is no, after the same time.
///
/// # Errors
/// When no thread or memory is available, or the stored hash is malformed.
pub async fn verify(password: &Password, hash: Option<&str>, ambient: &Ambient) -> Result<Verified, ApiError> {
    let (password, salt) = (password.clone(), ambient.bytes::<16>());
    let (is_known, hash) = (hash.is_some(), hash.unwrap_or(DUMMY_HASH).to_owned());
    off_reactor(move || {
        let parsed = PasswordHash::new(&hash)?;
        match argon2().verify_password(password.0.expose_secret().as_bytes(), &parsed) {
            Ok(()) if !is_known => Ok(Verified::No),
            Ok(()) if is_of_today(&parsed) => Ok(Verified::Yes),
            Ok(()) => hash_with(&password, &salt).map(Verified::Upgraded),
            Err(argon2::password_hash::Error::PasswordInvalid) => Ok(Verified::No),
            Err(error) => Err(error),
        }
    })
    .await?
    .map_err(|error: argon2::password_hash::Error| ApiError::internal(error.to_string()))
}

/// Hashes a password on the calling thread, which blocks.
pub(crate) fn hash_here(password: &Password, ambient: &Ambient) -> Result<String, ApiError> {
    hash_with(password, &ambient.bytes::<16>()).map_err(|error| ApiError::internal(error.to_string()))
}

fn hash_with(password: &Password, salt: &[u8]) -> Result<String, argon2::password_hash::Error> {
    argon2().hash_password_with_salt(password.0.expose_secret().as_bytes(), salt).map(|hash| hash.to_string())
}

fn is_of_today(hash: &PasswordHash) -> bool {
    let today = argon2();
    hash.algorithm.as_str() == "argon2id"
        && Params::try_from(hash).is_ok_and(|params| {
            (params.m_cost(), params.t_cost(), params.p_cost())
                == (today.params().m_cost(), today.params().t_cost(), today.params().p_cost())
        })
}

async fn off_reactor<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, ApiError> {
    static PLACES: Semaphore = Semaphore::const_new(MAX_CONCURRENT_HASHES);
    let _place = PLACES.acquire().await.map_err(ApiError::internal)?;
    tokio::task::spawn_blocking(work).await.map_err(ApiError::internal)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn is_acceptable(password: &str) -> bool {
        NewPassword(password.into()).validate().is_ok()
    }

    #[tokio::test]
    async fn a_password_is_known_again_and_another_is_not() {
        let ambient = Ambient::system();
        let hash = hash(&"correct-horse-battery-staple".into(), &ambient).await.unwrap();
        assert!(hash.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{hash}");
        let verify = async |password: &str| verify(&password.into(), Some(&hash), &ambient).await.unwrap();
        assert_eq!(verify("correct-horse-battery-staple").await, Verified::Yes);
        assert_eq!(verify("correct-horse-battery-stapl").await, Verified::No);
    }

    #[tokio::test]
    async fn nobody_has_a_password() {
        assert_eq!(verify(&"anything at all".into(), None, &Ambient::system()).await.unwrap(), Verified::No);
    }

    #[tokio::test]
    async fn a_hash_in_older_parameters_is_upgraded() {
        let ambient = Ambient::system();
        let params = Params::new(8 * 1024, 1, 1, None).unwrap();
        let weak = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
        let old = weak.hash_password_with_salt(b"correct-horse-battery-staple", &[7; 16]).unwrap().to_string();
        let password = "correct-horse-battery-staple".into();
        let Verified::Upgraded(new) = verify(&password, Some(&old), &ambient).await.unwrap() else {
            panic!("not upgraded");
        };
        assert_eq!(verify(&password, Some(&new), &ambient).await.unwrap(), Verified::Yes);
    }

    #[tokio::test]
    async fn two_ways_to_type_a_letter_are_one_password() {
        let ambient = Ambient::system();
        let hash = hash(&"pässwörd-pässwörd".into(), &ambient).await.unwrap();
        let decomposed = "pa\u{308}sswo\u{308}rd-pa\u{308}sswo\u{308}rd";
        assert_eq!(verify(&decomposed.into(), Some(&hash), &ambient).await.unwrap(), Verified::Yes);
    }

    #[test]
    fn twelve_to_128_characters_of_any_kind_are_taken() {
        for good in ["correct-horse", "пароль-надёжный", &"密".repeat(12), &"🔑🐎🔋📎".repeat(32)]
        {
            assert!(is_acceptable(good), "{good}");
        }
        for bad in ["", "eleven-char", &"x".repeat(129), &"密".repeat(129)] {
            assert!(!is_acceptable(bad), "{bad}");
        }
    }

    #[test]
    fn common_passwords_are_refused_alone_and_in_pairs() {
        assert!(COMMON_PASSWORDS.lines().count() >= 3000);
        for common in COMMON_PASSWORDS.lines() {
            assert!(!is_acceptable(common), "{common}");
            assert!(is_common(&common.to_uppercase()), "{common}");
        }
        for bad in ["passwordpassword", "Password12345678", "qwertyuiop123456"] {
            assert!(!is_acceptable(bad), "{bad}");
        }
    }

    /// On a single-threaded runtime, hashing does not block other tasks.
    #[tokio::test]
    async fn hashing_does_not_hold_up_what_else_the_thread_does() {
        let ambient = Ambient::system();
        let password = Password::from("correct-horse-battery-staple");
        let hashing = async {
            for _ in 0..5 {
                hash(&password, &ambient).await.unwrap();
            }
        };
        let mut ticks = 0;
        let ticking = async {
            loop {
                tokio::time::sleep(Duration::from_millis(1)).await;
                ticks += 1;
            }
        };
        tokio::select! { () = hashing => {}, () = ticking => {} }
        assert!(ticks >= 10, "{ticks} ticks during five hashes");
    }
}
