//! `GET /v1/lab/crypto`: hashes passwords on or off the reactor.

use shared::{
    api::lab::{Hashed, LabCrypto},
    auth::password::Password,
    error::ApiError,
    lab::crypto,
    lambda::Request,
};

shared::lambda!(LabCrypto, handle);

async fn handle(_: Needs, req: Request<LabCrypto>) -> Result<Hashed, ApiError> {
    let (place, hashes) = (req.query.place, req.query.hashes);
    let password = Password::from("correct-horse-battery-staple");
    for _ in 0..hashes {
        crypto::hash(place, &password, &req.ambient).await?;
    }
    Ok(Hashed { place, hashes })
}
