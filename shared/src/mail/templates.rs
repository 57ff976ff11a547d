//! The texts of every mail.

use uuid::Uuid;

use super::{
    Content, Mail,
    layout::Block::{self, Code, Facts},
};
use crate::money::{Currency, Money};

impl Content {
    /// The rendered mail; `code` is empty for a mail without one.
    #[must_use]
    pub fn mail(&self, code: &str) -> Mail {
        let code = |label| Code { label, code: code.to_owned() };
        match self {
            Self::VerifyEmail => Mail::new(
                "Verify your e-mail address",
                &[
                    paragraph("Welcome to Souk."),
                    code("Your verification code"),
                    paragraph("It is valid for 24 hours. If you did not register, ignore this mail."),
                ],
            ),
            Self::LoginCode { .. } => Mail::new(
                "Your login code",
                &[
                    code("Your login code"),
                    paragraph(
                        "It is valid for 5 minutes. If you did not ask for it, ignore this mail, and give the code to nobody.",
                    ),
                ],
            ),
            Self::ResetPassword => Mail::new(
                "Set a new password",
                &[
                    code("Your reset code"),
                    paragraph(
                        "It is valid for 1 hour. If you did not ask for it, ignore this mail: your password stays as it is.",
                    ),
                ],
            ),
            Self::PasswordChanged => Mail::new(
                "Your password was changed",
                &[
                    paragraph("The password of your account was changed, and other sessions were ended."),
                    paragraph("If that was not you, set a new password at once."),
                ],
            ),
            Self::AccountExists => Mail::new(
                "You have an account",
                &[
                    paragraph("Somebody tried to register at Souk with this address, which has an account."),
                    paragraph("If that was you, log in instead. If not, there is nothing to do."),
                ],
            ),
            Self::OrderPlaced { order_id, total, items } => {
                let products = if *items == 1 { "1 product".to_owned() } else { format!("{items} products") };
                Mail::new(
                    format!("Your order {order_id}"),
                    &[
                        paragraph(format!("We have received your order of {products}.")),
                        Facts(vec![("Order", order_id.to_string()), ("Total", total.to_string())]),
                    ],
                )
            }
            Self::OrderCancelled { order_id, reason } => Mail::new(
                format!("Your order {order_id} was cancelled"),
                &[
                    paragraph("We had to cancel your order."),
                    Facts(
                        [("Order", Some(order_id.to_string())), ("Reason", reason.clone())]
                            .into_iter()
                            .filter_map(|(label, fact)| Some((label, fact?)))
                            .collect(),
                    ),
                ],
            ),
            Self::OrderReturned { order_id, refund, units } => {
                let units = if *units == 1 { "1 unit".to_owned() } else { format!("{units} units") };
                Mail::new(
                    format!("Your return of order {order_id}"),
                    &[
                        paragraph(format!("We have received {units} of your order back.")),
                        Facts(vec![("Order", order_id.to_string()), ("Refund", refund.to_string())]),
                    ],
                )
            }
        }
    }

    /// The mail's name among its [`Self::samples`].
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::VerifyEmail => "verify-email",
            Self::AccountExists => "account-exists",
            Self::LoginCode { .. } => "login-code",
            Self::ResetPassword => "reset-password",
            Self::PasswordChanged => "password-changed",
            Self::OrderPlaced { .. } => "order-placed",
            Self::OrderCancelled { .. } => "order-cancelled",
            Self::OrderReturned { .. } => "order-returned",
        }
    }

    /// One of each, to look at.
    #[must_use]
    pub fn samples() -> Vec<Self> {
        let total = Money { amount: 123_456, currency: Currency::EUR };
        vec![
            Self::VerifyEmail,
            Self::AccountExists,
            Self::LoginCode { challenge_id: Uuid::nil() },
            Self::ResetPassword,
            Self::PasswordChanged,
            Self::OrderCancelled { order_id: Uuid::nil(), reason: Some("Damaged in the warehouse".to_owned()) },
            Self::OrderReturned { order_id: Uuid::nil(), refund: total, units: 2 },
            Self::OrderPlaced { order_id: Uuid::nil(), total, items: 3 },
        ]
    }
}

fn paragraph(text: impl Into<String>) -> Block {
    Block::Paragraph(text.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mail_says_the_same_as_text_and_as_html() {
        for content in Content::samples() {
            let mail = content.mail("CODE-1234");
            let words = |text: &str| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
            for word in words(&mail.text) {
                let word = word.trim_end_matches(':');
                assert!(mail.html.contains(word), "{}: {word} is not in the HTML", content.name());
            }
        }
        let mail = Content::VerifyEmail.mail("CODE-1234");
        assert!(mail.text.contains("Your verification code: CODE-1234\n"), "{}", mail.text);
        let order = Content::samples().pop().map(|order| order.mail("").text).unwrap_or_default();
        assert!(order.ends_with("Total: 1234.56 EUR\n"), "{order}");
    }
}
