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
use crate::{email::EmailAddress, messaging::QueueContract, money::Money};

/// Mail to users; consumed by `on-email`.
pub struct EmailQueue;

impl QueueContract for EmailQueue {
    const NAME: &'static str = "email";
    const URL: &'static str = "SOUK_EMAIL_QUEUE_URL";
    const DEAD_LETTER_URL: &'static str = "SOUK_EMAIL_DEAD_LETTER_QUEUE_URL";
    type Message = Email;
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
}
