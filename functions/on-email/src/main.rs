//! Sends the mails of the email queue. Codes are made here, when their mail is written: no queue or outbox ever holds one.
//!
//! A message that is delivered twice is sent once. SES has no idempotency: if this process dies between SES taking a mail and
//! the note of it, the mail is sent again when the message's lease is over.

use shared::{
    background::OnEmail,
    contract::Function,
    identity::MailCode,
    lambda::Delivery,
    mail::{Content, Email, Mail, Recipient},
    messaging::{Failure, Incoming},
    store::{
        mongodb::users::{self, User},
        mysql::processed_messages::{self, Outcome},
        redis::login_codes,
    },
};
use time::Duration;

shared::lambda!(OnEmail, handle);

async fn handle(needs: Needs, delivery: Delivery<OnEmail>) -> Result<(), Failure> {
    let (id, now) = (delivery.id, delivery.ambient.now());
    match processed_messages::claim(&needs.mysql, OnEmail::NAME, id, now).await? {
        Outcome::Done => return Ok(()),
        Outcome::InProgress => return Err(Failure::new("another delivery of this message is at work")),
        Outcome::Claimed => {}
    }
    let email = match delivery.message.clone() {
        Incoming::Event(event) => Email::of(event),
        Incoming::Command(email) => Some(email),
    };
    let sent = match &email {
        Some(email) => send(&needs, &delivery, email).await,
        None => Ok(()),
    };
    match sent {
        Ok(()) => processed_messages::done(&needs.mysql, OnEmail::NAME, id, delivery.ambient.now()).await?,
        Err(_) => processed_messages::release(&needs.mysql, OnEmail::NAME, id).await?,
    }
    sent
}

async fn send(needs: &Needs, delivery: &Delivery<OnEmail>, email: &Email) -> Result<(), Failure> {
    let user = match &email.to {
        Recipient::User(id) => users::find(&needs.mongodb, *id).await?,
        Recipient::Address(email) => users::find_by_address(&needs.mongodb, email).await?,
    };
    let Some(user) = user else {
        tracing::info!("no mail: nobody has this address, or the user is gone");
        return Ok(());
    };
    match write(needs, delivery, &email.content, &user).await? {
        Some(mail) => needs.ses.send(&user.email, &mail).await.map_err(|error| error.failure()),
        None => Ok(()),
    }
}

/// The mail, with a new code where it has one. `None` if there is nothing to say any more.
async fn write(
    needs: &Needs,
    delivery: &Delivery<OnEmail>,
    content: &Content,
    user: &User,
) -> Result<Option<Mail>, Failure> {
    let ambient = &delivery.ambient;
    let code = match content {
        Content::VerifyEmail if user.email_verified => return Ok(None),
        Content::VerifyEmail => {
            let (code, proof) = MailCode::issue(ambient, Duration::hours(24));
            users::set_verification_code(&needs.mongodb, user.id, &proof).await?;
            code.as_str().to_owned()
        }
        Content::ResetPassword => {
            let (code, proof) = MailCode::issue(ambient, Duration::hours(1));
            users::set_reset_code(&needs.mongodb, user.id, &proof).await?;
            code.as_str().to_owned()
        }
        Content::LoginCode { challenge_id } => {
            let code = ambient.code();
            if !login_codes::issue(&needs.redis, &needs.mac, *challenge_id, &code, ambient.now()).await? {
                tracing::info!("no mail: its challenge is over");
                return Ok(None);
            }
            code
        }
        Content::AccountExists
        | Content::PasswordChanged
        | Content::OrderPlaced { .. }
        | Content::OrderCancelled { .. }
        | Content::OrderReturned { .. } => String::new(),
    };
    Ok(Some(content.mail(&code)))
}
