//! `POST /v1/auth/otp`: a mail with a login code.
//!
//! The challenge is opened for every address. The consumer of the message looks the account up, so that the reply does
//! not reveal whether there is one.

use shared::{
    api::auth::{AuthOtp, OtpChallenge},
    error::ApiError,
    lambda::Request,
    mail::{Content, Email, Recipient},
    store::redis::login_codes,
};

shared::lambda!(AuthOtp, handle);

async fn handle(needs: Needs, req: Request<AuthOtp>) -> Result<OtpChallenge, ApiError> {
    let (email, challenge_id, now) = (req.body.email, req.ambient.id(), req.ambient.now());
    login_codes::open(&needs.redis, challenge_id, &email.key(), now).await?;
    let mail = Email { to: Recipient::Address(email), content: Content::LoginCode { challenge_id } };
    needs.email.send(req.ambient.id(), &req.trace, mail).await?;
    Ok(OtpChallenge::new(challenge_id))
}
