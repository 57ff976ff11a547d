//! The text of every mail.

use super::Content;

/// A mail's subject and body.
#[derive(Debug, PartialEq, Eq)]
pub struct Text {
    pub subject: String,
    pub body: String,
}

impl Content {
    /// The mail in words; `code` is empty where it has none.
    #[must_use]
    pub fn text(&self, code: &str) -> Text {
        let (subject, body) = match self {
            Self::VerifyEmail => (
                "Verify your e-mail address".to_owned(),
                format!(
                    "Welcome to Souk.\n\nYour verification code: {code}\n\n\
                     It is valid for 24 hours. If you did not register, ignore this mail.\n"
                ),
            ),
            Self::LoginCode { .. } => (
                "Your login code".to_owned(),
                format!(
                    "Your login code: {code}\n\n\
                     It is valid for 5 minutes. If you did not ask for it, ignore this mail, and give the code to nobody.\n"
                ),
            ),
            Self::ResetPassword => (
                "Set a new password".to_owned(),
                format!(
                    "Your reset code: {code}\n\n\
                     It is valid for 1 hour. If you did not ask for it, ignore this mail: your password stays as it is.\n"
                ),
            ),
            Self::PasswordChanged => (
                "Your password was changed".to_owned(),
                "The password of your account was changed, and other sessions were ended.\n\n\
                 If that was not you, set a new password at once.\n"
                    .to_owned(),
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
