//! Hashing passwords: on the reactor, on the blocking pool, on rayon.
//!
//! argon2id occupies a core and 19 MiB for tens of milliseconds in any case. The question is which requests wait for
//! it: on the reactor all of them, on a thread pool only its own. Node's thread pool has four threads; Souk hashes as
//! many passwords concurrently.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{
    ambient::Ambient,
    auth::password::{self, Password},
    error::ApiError,
};

/// Where passwords are hashed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
#[schema(as = HashingPlace)]
pub enum Place {
    /// On the thread that serves requests.
    Reactor,
    /// On a thread of its own, within Souk's concurrency limit: what every function here does.
    #[default]
    BlockingPool,
    /// On as many threads as there are cores, in order of arrival.
    Rayon,
}

/// Hashes a password in this place.
///
/// # Errors
/// When no thread or memory is available.
pub async fn hash(place: Place, password: &Password, ambient: &Ambient) -> Result<String, ApiError> {
    match place {
        Place::Reactor => password::hash_here(password, ambient),
        Place::BlockingPool => password::hash(password, ambient).await,
        Place::Rayon => {
            let (password, ambient) = (password.clone(), ambient.clone());
            let (done, result) = tokio::sync::oneshot::channel();
            rayon::spawn(move || {
                // The receiver is gone if the request has timed out.
                let _ = done.send(password::hash_here(&password, &ambient));
            });
            result.await.map_err(ApiError::internal)?
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::password::Verified;

    #[tokio::test]
    async fn a_hash_is_as_good_wherever_it_was_made() {
        let (password, ambient) = (Password::from("correct-horse-battery-staple"), Ambient::system());
        for place in [Place::Reactor, Place::BlockingPool, Place::Rayon] {
            let hash = hash(place, &password, &ambient).await.unwrap();
            let verified = password::verify(&password, Some(&hash), &ambient).await.unwrap();
            assert_eq!(verified, Verified::Yes, "{place:?}");
        }
    }
}
