//! Keeps what users are told inside the application. A message that is delivered twice is one notification: it has the message's id.

use shared::{
    background::OnNotification,
    lambda::Delivery,
    messaging::{Failure, Incoming},
    notification::Notification,
    store::mongodb::notifications,
};

shared::lambda!(OnNotification, handle);

async fn handle(needs: Needs, delivery: Delivery<OnNotification>) -> Result<(), Failure> {
    let notification = match delivery.message {
        Incoming::Event(event) => Notification::of(event),
        Incoming::Command(notification) => Some(notification),
    };
    let Some(notification) = notification else { return Ok(()) };
    if !notifications::insert(&needs.mongodb, delivery.id, &notification).await? {
        tracing::info!("the notification is there already");
    }
    Ok(())
}
