//! Hashing passwords: on the reactor, on the blocking pool, on rayon.
//!
//! argon2id keeps a core and 19 MiB busy for tens of milliseconds, whoever waits for it. The question is only who else has to: on the
//! reactor everybody, on a pool of threads nobody. Node's thread pool has four threads; Souk hashes as many passwords at once.

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
    /// On a thread of its own, as many at once as Souk allows: what every function here does.
    #[default]
    BlockingPool,
    /// On as many threads as there are cores, in the order of arrival.
    Rayon,
}

/// Hashes a password there.
///
/// # Errors
/// When the thread or the memory cannot be had.
pub async fn hash(place: Place, password: &Password, ambient: &Ambient) -> Result<String, ApiError> {
    match place {
        Place::Reactor => password::hash_here(password, ambient),
        Place::BlockingPool => password::hash(password, ambient).await,
        Place::Rayon => {
            let (password, ambient) = (password.clone(), ambient.clone());
            let (done, result) = tokio::sync::oneshot::channel();
            rayon::spawn(move || {
                // Nobody waits any more whose request has timed out.
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
