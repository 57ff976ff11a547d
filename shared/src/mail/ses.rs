//! Sending mail with SES.

use std::sync::Arc;

use aws_sdk_sesv2::{
    Client,
    types::{Body, Content, Destination, EmailContent, Message},
};
use tokio::sync::OnceCell;

use super::Text;
use crate::{
    aws::Aws,
    contract::{Grant, Opener, Requirements, Resource, Target},
    email::EmailAddress,
    environment::{self, ConfigError},
    error::chain,
};

/// Sends mail.
#[derive(Clone)]
pub struct Ses {
    aws: Aws,
    client: Arc<OnceCell<Client>>,
    sender: Arc<str>,
}

/// The mail was not taken.
#[derive(Debug, thiserror::Error)]
#[error("SES did not take the mail: {0}")]
pub struct SesError(String);

impl Resource for Ses {
    fn requirements() -> Vec<Requirements> {
        vec![Requirements {
            environment: &["SOUK_EMAIL_SENDER"],
            grants: &[Grant { action: "ses:SendEmail", target: Target::EmailIdentity }],
        }]
    }

    fn open(opener: &Opener) -> Result<Self, ConfigError> {
        let sender = environment::required("SOUK_EMAIL_SENDER")?.into();
        Ok(Self { aws: opener.aws.clone(), client: Arc::default(), sender })
    }
}

impl Ses {
    /// Sends one mail.
    ///
    /// # Errors
    /// When SES refuses or does not answer.
    #[tracing::instrument(name = "ses.send", skip_all)]
    pub async fn send(&self, to: &EmailAddress, text: &Text) -> Result<(), SesError> {
        let content = |data: &str| Content::builder().data(data).charset("UTF-8").build();
        let failed = |error: &dyn std::error::Error| SesError(chain(error));
        let message = Message::builder()
            .subject(content(&text.subject).map_err(|error| failed(&error))?)
            .body(Body::builder().text(content(&text.body).map_err(|error| failed(&error))?).build())
            .build();
        let client = self.client.get_or_init(async || Client::new(self.aws.config().await)).await;
        let send = client
            .send_email()
            .from_email_address(&*self.sender)
            .destination(Destination::builder().to_addresses(to.as_str()).build())
            .content(EmailContent::builder().simple(message).build())
            .send();
        Box::pin(send).await.map_err(|error| failed(&error))?;
        Ok(())
    }
}
