//! Passwords: argon2id, off the reactor.
//!
//! Parameters are those that OWASP's password storage cheat sheet gives for argon2id: 19 MiB, two passes, one lane.

use argon2::{Algorithm, Argon2, Params, PasswordHasher, PasswordVerifier, Version, password_hash::phc::PasswordHash};
use secrecy::{ExposeSecret, SecretString};

use crate::{ambient::Ambient, error::ApiError};

/// The fewest characters of a password.
pub const MIN_LENGTH: usize = 12;
/// The most characters of a password: all of them count, none is cut off.
pub const MAX_LENGTH: usize = 128;

/// A hash of no password, in today's parameters: compared with when the user is unknown, so that this takes the same time.
const NOBODY: &str =
    "$argon2id$v=19$m=19456,t=2,p=1$c291ay1ub2JvZHktc2FsdA$KYtWyjXKoJIQy0tUj9l7VYxOZ0n6Ypn9iq6cVYWvq0w";

fn argon2() -> Argon2<'static> {
    let params = Params::new(19 * 1024, 2, 1, None).expect("these parameters are in range");
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
}

/// Hashes a password with a fresh salt. Takes tens of milliseconds and 19 MiB, on a thread of its own.
///
/// # Errors
/// When the thread or the memory cannot be had.
pub async fn hash(password: &SecretString, ambient: &Ambient) -> Result<String, ApiError> {
    let (password, salt) = (password.clone(), ambient.bytes::<16>());
    off_reactor(move || {
        argon2().hash_password_with_salt(password.expose_secret().as_bytes(), &salt).map(|hash| hash.to_string())
    })
    .await?
    .map_err(|error| ApiError::internal(error.to_string()))
}

/// Whether the password is the one that was hashed. Without a hash the answer is no, after the same time.
///
/// # Errors
/// When the thread or the memory cannot be had, or the stored hash is not one.
pub async fn verify(password: &SecretString, hash: Option<&str>) -> Result<bool, ApiError> {
    let (password, known, hash) = (password.clone(), hash.is_some(), hash.unwrap_or(NOBODY).to_owned());
    off_reactor(move || {
        let parsed = PasswordHash::new(&hash)?;
        match argon2().verify_password(password.expose_secret().as_bytes(), &parsed) {
            Ok(()) => Ok(known),
            Err(argon2::password_hash::Error::PasswordInvalid) => Ok(false),
            Err(error) => Err(error),
        }
    })
    .await?
    .map_err(|error| ApiError::internal(error.to_string()))
}

async fn off_reactor<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, ApiError> {
    tokio::task::spawn_blocking(work).await.map_err(ApiError::internal)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_password_is_known_again_and_another_is_not() {
        let ambient = Ambient::system();
        let hash = hash(&"correct-horse-battery-staple".into(), &ambient).await.unwrap();
        assert!(hash.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{hash}");
        assert!(verify(&"correct-horse-battery-staple".into(), Some(&hash)).await.unwrap());
        assert!(!verify(&"correct-horse-battery-stapl".into(), Some(&hash)).await.unwrap());
    }

    #[tokio::test]
    async fn nobody_has_a_password() {
        assert!(!verify(&"anything at all".into(), None).await.unwrap());
    }
}
