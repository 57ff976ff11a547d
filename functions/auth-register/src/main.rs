//! `POST /v1/auth/register`: a new customer, and a mail with a verification code.
//!
//! The reply and the work are the same whether or not the address has an account: only its owner learns, by mail.

use shared::{
    api::auth::{Accepted, AuthRegister},
    auth::password,
    error::ApiError,
    identity::{Role, Roles},
    lambda::Request,
    mail::{Content, Email, EmailQueue, Recipient},
    messaging::OutboxMessage,
    store::{
        mongodb::{
            user_outbox::{Holder, UserOutbox},
            users::{self, Inserted, NewUser},
        },
        outbox::send_committed,
    },
};

shared::lambda!(AuthRegister, handle);

async fn handle(needs: Needs, req: Request<AuthRegister>) -> Result<Accepted, ApiError> {
    let (email, id, now) = (req.body.email.clone(), req.ambient.id(), req.ambient.now());
    let password_hash = password::hash(&req.body.password.0, &req.ambient).await?;
    let mail = |to, content| OutboxMessage::command::<EmailQueue>(req.ambient.id(), &req.trace, Email { to, content });

    let user = NewUser {
        id,
        email: email.clone(),
        email_verified: false,
        password_hash: Some(password_hash),
        identity_key: None,
        roles: Roles(vec![Role::Customer]),
        now,
    };
    let welcome = mail(Recipient::User(id), Content::VerifyEmail)?;
    let is_new = users::find_holder(&needs.mongodb, &email).await?.is_none()
        && users::insert(&needs.mongodb, &user, Some(&welcome)).await? == Inserted::Yes;
    let message = if is_new {
        welcome
    } else {
        let notice = mail(Recipient::Address(email.clone()), Content::AccountExists)?;
        users::add_message(&needs.mongodb, &email, &notice, now).await?;
        notice
    };
    let outbox = UserOutbox { mongodb: needs.mongodb, holder: Holder::Address(email) };
    req.after_reply(send_committed(needs.email, outbox, vec![message], now));
    Ok(Accepted::default())
}
