//! Mail: what is said to users, and the SES client that says it.

mod layout;
mod ses;
mod templates;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

pub use self::{
    layout::Mail,
    ses::{Ses, SesError},
};
use crate::{email::EmailAddress, messaging::QueueContract, money::Money};

/// Mail to users; consumed by `on-email`.
pub struct EmailQueue;

impl QueueContract for EmailQueue {
    const NAME: &'static str = "email";
    const URL: &'static str = "SOUK_EMAIL_QUEUE_URL";
    const DEAD_LETTER_URL: &'static str = "SOUK_EMAIL_DEAD_LETTER_QUEUE_URL";
    type Message = Email;
}

/// A mail to a user, who is looked up when it is sent.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Email {
    pub to: Recipient,
    pub content: Content,
}

/// Who gets a mail.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Recipient {
    User(Uuid),
    /// Whoever has this address, and nobody if nobody has: so that a request for a mail looks the same for every address.
    Address(EmailAddress),
}

/// What the mail is about. A code that it holds is made when it is written.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum Content {
    /// Somebody registered with this address: the code proves that they read its mail.
    VerifyEmail,
    /// Somebody tried to register with an address that has an account.
    AccountExists,
    /// Somebody wants to log in with a code.
    LoginCode { challenge_id: Uuid },
    /// Somebody forgot the password: the code entitles to a new one.
    ResetPassword,
    /// The password was changed.
    PasswordChanged,
    /// The order was taken.
    OrderPlaced { order_id: Uuid, total: Money, items: u32 },
}
