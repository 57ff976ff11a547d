//! `POST /v1/auth/verify-email/resend`: another mail with a verification code.
//!
//! The consumer of the message looks the account up, so that the reply does not reveal whether there is one.

use shared::{
    api::auth::{Accepted, AuthVerifyEmailResend},
    error::ApiError,
    lambda::Request,
    mail::{Content, Email, Recipient},
};

shared::lambda!(AuthVerifyEmailResend, handle);

async fn handle(needs: Needs, req: Request<AuthVerifyEmailResend>) -> Result<Accepted, ApiError> {
    let email = req.body.email;
    let mail = Email { to: Recipient::Address(email), content: Content::VerifyEmail };
    needs.email.send(req.ambient.id(), &req.trace, mail).await?;
    Ok(Accepted::default())
}
