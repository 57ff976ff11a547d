//! Mail: what is said to users, and the SES client that says it.

mod ses;
mod templates;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

pub use self::{
    ses::{Ses, SesError},
    templates::Text,
};
use crate::money::Money;

/// A mail to a user. It names the user, not the address: that is looked up when the mail is sent.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Email {
    pub user_id: Uuid,
    pub content: Content,
}

/// What the mail is about.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum Content {
    /// Somebody registered with this address: the code proves that they read it.
    VerifyEmail { code: String },
    /// Somebody tried to register with an address that has an account.
    AccountExists,
    /// The order was taken.
    OrderPlaced { order_id: Uuid, total: Money, items: u32 },
}
