//! Sending mail with SES.

use std::sync::Arc;

use aws_sdk_sesv2::{
    Client,
    types::{Body, Content, Destination, EmailContent, Message},
};
use tokio::sync::OnceCell;

use super::Mail;
use crate::{
    aws::Aws,
    boxed,
    contract::{Grant, Requirements, Resource, ResourceContext, Target},
    email::EmailAddress,
    environment::{self, ConfigError},
    error::chain,
    messaging::Failure,
};

/// Sends mail.
#[derive(Clone)]
pub struct Ses {
    aws: Aws,
    client: Arc<OnceCell<Client>>,
    sender: Arc<str>,
}

/// SES did not accept the mail.
#[derive(Debug, thiserror::Error)]
pub enum SesError {
    /// Permanent: a retry would be refused too.
    #[error("SES refuses the mail: {0}")]
    Refused(String),
    #[error("SES did not take the mail: {0}")]
    Failed(String),
}

impl SesError {
    /// The failure of the message that requested the mail.
    #[must_use]
    pub fn failure(&self) -> Failure {
        match self {
            Self::Refused(_) => Failure::permanent(chain(self)),
            Self::Failed(_) => Failure::new(chain(self)),
        }
    }
}

impl Resource for Ses {
    fn requirements() -> Vec<Requirements> {
        vec![Requirements {
            environment: &["SOUK_EMAIL_SENDER"],
            grants: &[Grant { action: "ses:SendEmail", target: Target::EmailIdentity }],
        }]
    }

    fn open(context: &ResourceContext) -> Result<Self, ConfigError> {
        let sender = environment::required("SOUK_EMAIL_SENDER")?.into();
        Ok(Self { aws: context.aws.clone(), client: Arc::default(), sender })
    }
}

impl Ses {
    /// Sends one mail, as HTML and as text.
    ///
    /// # Errors
    /// When SES refuses or does not answer.
    #[tracing::instrument(name = "ses.send", skip_all)]
    #[boxed]
    pub async fn send(&self, to: &EmailAddress, mail: &Mail) -> Result<(), SesError> {
        let content = |data: &str| {
            let content = Content::builder().data(data).charset("UTF-8").build();
            content.map_err(|error| SesError::Refused(chain(&error)))
        };
        let body = Body::builder().text(content(&mail.text)?).html(content(&mail.html)?).build();
        let message = Message::builder().subject(content(&mail.subject)?).body(body).build();
        let client = self.client.get_or_init(async || Client::new(self.aws.config().await)).await;
        let send = client
            .send_email()
            .from_email_address(&*self.sender)
            .destination(Destination::builder().to_addresses(to.as_str()).build())
            .content(EmailContent::builder().simple(message).build())
            .send();
        send.await.map_err(|error| {
            // Permanent: SES rejects the mail itself.
            let is_refused = error
                .as_service_error()
                .is_some_and(|error| error.is_message_rejected() || error.is_bad_request_exception());
            if is_refused { SesError::Refused(chain(&error)) } else { SesError::Failed(chain(&error)) }
        })?;
        Ok(())
    }
}
