//! `POST /v1/auth/register`: a new customer, and a mail with a code that verifies the address.
//!
//! The answer and the work are the same whether or not the address has an account: only its owner learns, by mail.

use shared::{
    api::auth::{Accepted, AuthRegister},
    auth::{Role, Roles, password, verification},
    error::ApiError,
    lambda::Request,
    mail::{Content, Email},
    queue::{EmailQueue, Outgoing, send_after_commit},
    store::{
        user_outbox,
        users::{self, Inserted, NewUser},
    },
};

shared::lambda!(AuthRegister, handle);

async fn handle(needs: Needs, req: Request<AuthRegister>) -> Result<Accepted, ApiError> {
    let (now, id) = (req.ambient.now(), req.ambient.id());
    let password_hash = password::hash(&req.body.password, &req.ambient).await?;
    let (code, verification) = verification::issue(&req.ambient);
    let mail = |user_id, content| {
        Outgoing::new::<EmailQueue>(req.ambient.id(), &req.trace, Email { user_id, content })
            .map_err(ApiError::internal)
    };

    let email = req.body.email;
    let user = NewUser {
        id,
        email: email.clone(),
        password_hash,
        roles: Roles(vec![Role::Customer]),
        verification: Some(verification),
        now,
    };
    let welcome = mail(id, Content::VerifyEmail { code })?;
    let (owner, message) = match users::insert(&needs.mongodb, &user, Some(&welcome)).await? {
        Inserted::Yes => (Some(id), welcome),
        Inserted::EmailTaken => {
            let owner = users::id_of(&needs.mongodb, &email).await?;
            let message = mail(owner.unwrap_or(id), Content::AccountExists)?;
            users::add_message(&needs.mongodb, &email, &message, now).await?;
            (owner, message)
        }
    };
    if let Some(owner) = owner {
        let mark_sent = user_outbox::sent_at_once(&needs.mongodb, owner, message.id);
        send_after_commit(&needs.email, &message, mark_sent).await;
    }
    Ok(Accepted::default())
}
