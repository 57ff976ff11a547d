//! The text of every mail.

use super::Content;

/// A mail's subject and body.
#[derive(Debug, PartialEq, Eq)]
pub struct Text {
    pub subject: String,
    pub body: String,
}

impl Content {
    /// The mail in words.
    #[must_use]
    pub fn text(&self) -> Text {
        let (subject, body) = match self {
            Self::VerifyEmail { code } => (
                "Verify your e-mail address".to_owned(),
                format!(
                    "Welcome to Souk.\n\nYour verification code: {code}\n\n\
                     It is valid for 24 hours. If you did not register, ignore this mail.\n"
                ),
            ),
            Self::AccountExists => (
                "You have an account".to_owned(),
                "Somebody tried to register at Souk with this address, which has an account.\n\n\
                 If that was you, log in instead. If not, there is nothing to do.\n"
                    .to_owned(),
            ),
            Self::OrderPlaced { order_id, total, items } => {
                let products = if *items == 1 { "1 product".to_owned() } else { format!("{items} products") };
                (
                    format!("Your order {order_id}"),
                    format!("We have received your order of {products}.\n\nOrder: {order_id}\nTotal: {total}\n"),
                )
            }
        };
        Text { subject, body }
    }
}
