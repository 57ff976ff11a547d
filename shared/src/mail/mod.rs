//! Mail to users: its texts, and the SES client that sends it.

mod layout;
mod ses;
mod templates;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

pub use self::{
    layout::Mail,
    ses::{Ses, SesError},
};
use crate::{
    email::EmailAddress,
    messaging::{Incoming, QueueContract},
    money::Money,
    order::{CancelledBy, OrderCancelled, OrderEvent, OrderPlaced, OrderReturned},
};

/// Mail to users; consumed by `on-email`.
pub struct EmailQueue;

impl QueueContract for EmailQueue {
    const NAME: &'static str = "email";
    const URL: &'static str = "SOUK_EMAIL_QUEUE_URL";
    const DEAD_LETTER_URL: &'static str = "SOUK_EMAIL_DEAD_LETTER_QUEUE_URL";
    type Command = Email;
    type Message = Incoming<OrderEvent, Email>;
}

/// A mail to a user. The recipient is looked up when it is sent.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Email {
    pub to: Recipient,
    pub content: Content,
}

/// The recipient of a mail.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Recipient {
    User(Uuid),
    /// The user with this address, if there is one: a request for a mail looks the same for every address.
    Address(EmailAddress),
}

/// What the mail is about. A code in it is generated when the mail is written.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum Content {
    /// A registration with this address: the code verifies the address.
    VerifyEmail,
    /// A registration with an address that has an account.
    AccountExists,
    /// A login by code.
    LoginCode { challenge_id: Uuid },
    /// A forgotten password: the code entitles to a new one.
    ResetPassword,
    /// The password was changed.
    PasswordChanged,
    /// The order was placed.
    OrderPlaced { order_id: Uuid, total: Money, items: u32 },
    /// The order was cancelled by staff.
    OrderCancelled { order_id: Uuid, reason: Option<String> },
    /// Units of the order came back.
    OrderReturned { order_id: Uuid, refund: Money, units: u32 },
}

impl Email {
    /// The mail that an event calls for, if it does.
    #[must_use]
    pub fn of(event: OrderEvent) -> Option<Self> {
        let (user_id, content) = match event {
            OrderEvent::Placed(OrderPlaced { order_id, user_id, lines, total, .. }) => {
                let items = u32::try_from(lines.len()).unwrap_or(u32::MAX);
                (user_id, Content::OrderPlaced { order_id, total, items })
            }
            OrderEvent::Cancelled(OrderCancelled { order_id, user_id, by: CancelledBy::Staff, reason, .. }) => {
                (user_id, Content::OrderCancelled { order_id, reason })
            }
            OrderEvent::Returned(OrderReturned { order_id, user_id, lines, refund, .. }) => {
                let units = lines.iter().map(|line| line.quantity).sum();
                (user_id, Content::OrderReturned { order_id, refund, units })
            }
            OrderEvent::Cancelled(_) | OrderEvent::StatusChanged(_) => return None,
        };
        Some(Self { to: Recipient::User(user_id), content })
    }
}
