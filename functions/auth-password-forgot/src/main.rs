//! `POST /v1/auth/password/forgot`: a mail with a code for setting a new password.
//!
//! The consumer of the message looks the account up, so that the reply does not reveal whether there is one.

use shared::{
    api::auth::{Accepted, AuthPasswordForgot},
    error::ApiError,
    lambda::Request,
    mail::{Content, Email, Recipient},
};

shared::lambda!(AuthPasswordForgot, handle);

async fn handle(needs: Needs, req: Request<AuthPasswordForgot>) -> Result<Accepted, ApiError> {
    let email = req.body.email;
    let mail = Email { to: Recipient::Address(email), content: Content::ResetPassword };
    needs.email.send(req.ambient.id(), &req.trace, mail).await?;
    Ok(Accepted::default())
}
