//! Sends the mails of the email queue.
//!
//! A message that is delivered twice is sent once. SES has no idempotency: if this process dies between SES taking a mail and
//! the note of it, the mail is sent again when the message's lease is over.

use shared::{
    background::OnEmail,
    contract::Function,
    lambda::{Delivery, Failure},
    store::{
        processed_messages::{self, Outcome},
        users,
    },
};

shared::lambda!(OnEmail, handle);

async fn handle(needs: Needs, delivery: Delivery<OnEmail>) -> Result<(), Failure> {
    let (id, now) = (delivery.id, delivery.ambient.now());
    match processed_messages::claim(&needs.mysql, OnEmail::NAME, id, now).await? {
        Outcome::Done => return Ok(()),
        Outcome::InProgress => return Err(Failure::new("another delivery of this message is at work")),
        Outcome::Claimed => {}
    }
    let sent = send(&needs, &delivery).await;
    match sent {
        Ok(()) => processed_messages::done(&needs.mysql, OnEmail::NAME, id, delivery.ambient.now()).await?,
        Err(_) => processed_messages::release(&needs.mysql, OnEmail::NAME, id).await?,
    }
    sent
}

async fn send(needs: &Needs, delivery: &Delivery<OnEmail>) -> Result<(), Failure> {
    let email = &delivery.message;
    let Some(user) = users::find(&needs.mongodb, email.user_id).await? else {
        tracing::info!(user_id = %email.user_id, "no mail: the user is gone");
        return Ok(());
    };
    Ok(needs.ses.send(&user.email, &email.content.text()).await?)
}
