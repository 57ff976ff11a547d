//! `POST /v1/auth/password/reset`: a new password for whoever has the code from the mail. All sessions end.

use shared::{
    api::auth::AuthPasswordReset,
    auth::{password, session},
    contract::NoContent,
    error::{ApiError, Problem},
    lambda::Request,
    mail::{Content, Email, EmailQueue, Recipient},
    messaging::OutboxMessage,
    store::{
        cache::{self, Key},
        mongodb::{
            sessions::EndReason,
            user_outbox::{self, Holder},
            users::{self, PasswordProof},
        },
        outbox::send_after_commit,
    },
};

shared::lambda!(AuthPasswordReset, handle);

async fn handle(needs: Needs, req: Request<AuthPasswordReset>) -> Result<NoContent, ApiError> {
    let (code, now) = (req.body.code.hash(), req.ambient.now());
    let user = users::find_by_reset_code(&needs.mongodb, &code, now).await?.ok_or(Problem::InvalidCode)?;
    let hash = password::hash(&req.body.password.0, &req.ambient).await?;

    let mail = Email { to: Recipient::User(user.id), content: Content::PasswordChanged };
    let mail = OutboxMessage::new::<EmailQueue>(req.ambient.id(), &req.trace, mail)?;
    let proof = PasswordProof::ResetCode(&code);
    let changed = users::replace_password(&needs.mongodb, user.id, proof, &hash, &mail, now).await?;
    let user = changed.ok_or(Problem::InvalidCode)?;

    session::end_with_epoch(&needs.mongodb, &needs.redis, user.id, None, EndReason::PasswordChanged, now).await;
    cache::invalidate(&needs.redis, Key::user(user.id), user.version).await;
    let mark_sent = user_outbox::mark_sent_now(&needs.mongodb, Holder::User(user.id), mail.id);
    send_after_commit(&needs.email, &mail, mark_sent).await;
    Ok(NoContent)
}
