//! `PUT /v1/auth/password`: a new password, against the current one. All other sessions end.

use shared::{
    api::auth::AuthPasswordChange,
    auth::{
        password::{self, Verified},
        session,
    },
    contract::NoContent,
    error::{ApiError, Problem},
    lambda::Request,
    mail::{Content, Email, EmailQueue, Recipient},
    messaging::OutboxMessage,
    store::{
        cache::{self, Key},
        mongodb::{
            sessions::{self, EndReason},
            user_outbox::{Holder, UserOutbox},
            users::{self, PasswordProof},
        },
        outbox::send_committed,
    },
};

shared::lambda!(AuthPasswordChange, handle);

async fn handle(needs: Needs, req: Request<AuthPasswordChange>) -> Result<NoContent, ApiError> {
    let (id, current, now) = (req.caller.user_id, req.caller.session_id, req.ambient.now());
    let found = users::find_with_password(&needs.mongodb, id).await?.ok_or(Problem::Unauthenticated)?;
    let old = found.password_hash.as_deref();
    let verified = password::verify(&req.body.current_password, old, &req.ambient).await?;
    let old = old.filter(|_| verified != Verified::No).ok_or(Problem::InvalidCredentials)?;
    let hash = password::hash(&req.body.new_password.0, &req.ambient).await?;

    let mail = Email { to: Recipient::User(id), content: Content::PasswordChanged };
    let mail = OutboxMessage::command::<EmailQueue>(req.ambient.id(), &req.trace, mail)?;
    let proof = PasswordProof::PresentHash(old);
    let changed = users::replace_password(&needs.mongodb, id, proof, &hash, &mail, now).await?;
    let user = changed.ok_or(Problem::InvalidCredentials)?;

    sessions::keep(&needs.mongodb, req.caller.owner(), current, user.epoch).await?;
    session::end_with_epoch(&needs.mongodb, &needs.redis, id, Some(current), EndReason::PasswordChanged, now).await;
    cache::invalidate(&needs.redis, Key::user(id), user.version).await;
    let outbox = UserOutbox { mongodb: needs.mongodb, holder: Holder::User(id) };
    req.after_reply(send_committed(needs.email, outbox, vec![mail], now));
    Ok(NoContent)
}
