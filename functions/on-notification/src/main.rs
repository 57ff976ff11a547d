//! Keeps what users are told inside the application. A message that is delivered twice is one notification: it has the message's id.

use shared::{background::OnNotification, lambda::Delivery, messaging::Failure, store::mongodb::notifications};

shared::lambda!(OnNotification, handle);

async fn handle(needs: Needs, delivery: Delivery<OnNotification>) -> Result<(), Failure> {
    if !notifications::insert(&needs.mongodb, delivery.id, &delivery.message).await? {
        tracing::info!("the notification is there already");
    }
    Ok(())
}
