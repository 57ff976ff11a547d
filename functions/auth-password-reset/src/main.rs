//! `POST /v1/auth/password/reset`: a new password, against the code from the mail. All sessions end.

use shared::{
    api::auth::AuthPasswordReset,
    auth::{
        account::{self, Proof},
        password,
    },
    contract::NoContent,
    error::{ApiError, Problem},
    lambda::Request,
    mail::{Content, Email, EmailQueue, Recipient},
    messaging::OutboxMessage,
    store::{
        mongodb::{
            user_outbox::{Holder, UserOutbox},
            users,
        },
        outbox::send_committed,
    },
};

shared::lambda!(AuthPasswordReset, handle);

async fn handle(needs: Needs, req: Request<AuthPasswordReset>) -> Result<NoContent, ApiError> {
    let (code, now) = (req.body.code.hash(), req.ambient.now());
    let user = users::find_by_reset_code(&needs.mongodb, &code, now).await?.ok_or(Problem::InvalidCode)?;
    let hash = password::hash(&req.body.password.0, &req.ambient).await?;

    let mail = Email { to: Recipient::User(user.id), content: Content::PasswordChanged };
    let mail = OutboxMessage::command::<EmailQueue>(req.ambient.id(), &req.trace, mail)?;
    let proof = Proof::ResetCode { user_id: user.id, code_hash: &code, password_hash: &hash, message: &mail };
    account::prove(&needs.mongodb, &needs.redis, proof, &req.ambient).await?;

    let outbox = UserOutbox { mongodb: needs.mongodb, holder: Holder::User(user.id) };
    req.after_reply(send_committed(needs.email, outbox, vec![mail], now));
    Ok(NoContent)
}
