//! HTTP client for servers other than AWS, on the connector of the AWS clients: rustls with ring.

use std::time::Duration;

use aws_smithy_http_client::{
    Connector,
    tls::{Provider, rustls_provider::CryptoMode},
};
use aws_smithy_runtime_api::client::{
    http::{HttpConnector, HttpConnectorSettings, SharedHttpConnector},
    orchestrator::HttpRequest,
};
use aws_smithy_types::body::SdkBody;

use crate::boxed;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
/// The largest reply that is read.
const MAX_REPLY_BYTES: usize = 1024 * 1024;

/// The server did not answer, or not with a success.
#[derive(Debug, thiserror::Error)]
#[error("{method} {host}: {reason}")]
pub struct HttpError {
    method: &'static str,
    host: String,
    reason: String,
}

/// A successful reply.
pub struct HttpReply {
    pub body: Vec<u8>,
    /// The `Cache-Control` header.
    pub cache_control: Option<String>,
}

/// A client that reuses its connections.
#[derive(Clone)]
pub struct HttpClient {
    connector: SharedHttpConnector,
    /// Timeout of a whole exchange.
    timeout: Duration,
}

/// Sends a `GET` request.
///
/// # Errors
/// When there is no successful reply within the timeout.
pub async fn get(url: &str, timeout: Duration) -> Result<HttpReply, HttpError> {
    HttpClient::new(timeout).send("GET", url, &[], SdkBody::empty()).await
}

/// Sends a `PUT` request.
///
/// # Errors
/// As [`get`].
pub async fn put(url: &str, body: String, timeout: Duration) -> Result<(), HttpError> {
    HttpClient::new(timeout).send("PUT", url, &[], SdkBody::from(body)).await.map(drop)
}

impl HttpClient {
    #[must_use]
    pub fn new(timeout: Duration) -> Self {
        let settings = HttpConnectorSettings::builder().connect_timeout(CONNECT_TIMEOUT).read_timeout(timeout).build();
        let connector =
            Connector::builder().connector_settings(settings).tls_provider(Provider::Rustls(CryptoMode::Ring)).build();
        Self { connector: SharedHttpConnector::new(connector), timeout }
    }

    /// Sends a request. `headers` are names, in lower case, and values.
    ///
    /// # Errors
    /// As [`get`].
    #[boxed]
    pub async fn send(
        &self,
        method: &'static str,
        url: &str,
        headers: &[(String, String)],
        body: SdkBody,
    ) -> Result<HttpReply, HttpError> {
        // Only the host: the rest of an address may be a secret.
        let host = url.split('/').nth(2).unwrap_or_default().to_owned();
        let failed = |reason: String| HttpError { method, host: host.clone(), reason };
        let mut request = HttpRequest::new(body);
        request.set_method(method).map_err(|error| failed(error.to_string()))?;
        request.set_uri(url).map_err(|error| failed(error.to_string()))?;
        for (name, value) in headers {
            request.headers_mut().try_insert(name.clone(), value.clone()).map_err(|error| failed(error.to_string()))?;
        }
        let exchange = async {
            let response = self.connector.call(request).await.map_err(|error| failed(crate::error::chain(&error)))?;
            if !response.status().is_success() {
                return Err(failed(format!("status {}", response.status().as_u16())));
            }
            let cache_control = response.headers().get("cache-control").map(str::to_owned);
            let body = aws_smithy_types::byte_stream::ByteStream::new(response.into_body());
            let body = body.collect().await.map_err(|error| failed(error.to_string()))?.into_bytes();
            if body.len() > MAX_REPLY_BYTES {
                return Err(failed("the reply is too long".into()));
            }
            Ok(HttpReply { body: body.to_vec(), cache_control })
        };
        tokio::time::timeout(self.timeout, exchange)
            .await
            .unwrap_or_else(|_| Err(failed(format!("no answer within {:?}", self.timeout))))
    }
}
