//! Spans, sent with the OpenTelemetry Protocol (OTLP over HTTP, binary): <https://opentelemetry.io/docs/specs/otlp/>.
//!
//! `SOUK_TRACES` is the destination: none, a collector in the same environment (a Lambda layer), or CloudWatch itself,
//! signed. An environment freezes as soon as it asks for the next event, so spans are flushed between the reply and
//! that: the client does not wait for it, but it is billed. A receiver that does not answer costs spans, and a bounded
//! time.
//!
//! The authorizer records no spans: it runs before every request, so it links nothing that it can do without. The
//! gateway's access log has its errors.

use std::{
    mem,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use aws_credential_types::provider::ProvideCredentials;
use aws_sigv4::{
    http_request::{SignableBody, SignableRequest, SigningSettings, sign},
    sign::v4,
};
use opentelemetry::{KeyValue, trace::TracerProvider};
use opentelemetry_proto::{
    tonic::collector::trace::v1::{ExportTraceServiceRequest, ExportTraceServiceResponse},
    transform::{common::tonic::ResourceAttributesWithSchema, trace::tonic::group_spans_by_resource_and_scope},
};
use opentelemetry_sdk::{
    Resource,
    error::OTelSdkResult,
    trace::{Sampler, SdkTracer, SdkTracerProvider, Span, SpanData, SpanProcessor},
};
use prost::Message;
use tokio::time::Instant;
use tracing::Subscriber;
use tracing_opentelemetry::OpenTelemetryLayer;
use tracing_subscriber::registry::LookupSpan;

use crate::{
    ambient::Ambient,
    aws::Aws,
    boxed,
    breaker::Breaker,
    environment::{self, ConfigError},
    error::chain,
    http_client::HttpClient,
};

/// The address of a collector in the same environment.
const COLLECTOR: &str = "http://localhost:4318/v1/traces";
/// Timeout of one export.
const EXPORT_TIMEOUT: Duration = Duration::from_secs(1);
/// Bounded buffer: further spans are dropped. CloudWatch takes 10,000 spans and 5 MB at once.
const MAX_PENDING_SPANS: usize = 4_000;

/// Records spans and sends them.
#[derive(Clone)]
pub struct Traces {
    provider: SdkTracerProvider,
    finished: Finished,
    resource: Arc<ResourceAttributesWithSchema>,
    endpoint: Arc<str>,
    /// Present if the receiver requires signed requests.
    signer: Option<Signer>,
    client: HttpClient,
    breaker: Arc<Breaker>,
}

impl Traces {
    /// Configured by the environment; `None` if tracing is off. `function` is the name of its package.
    ///
    /// # Errors
    /// When the environment holds an invalid value.
    pub fn open(function: &'static str, aws: &Aws, ambient: &Ambient) -> Result<Option<Self>, ConfigError> {
        let region = environment::optional("AWS_REGION").unwrap_or_default();
        let to = environment::optional(environment::TRACES);
        let (endpoint, signer) = match to.as_deref() {
            None | Some("off") => return Ok(None),
            Some("collector") => (COLLECTOR.to_owned(), None),
            Some("cloudwatch") => (
                format!("https://xray.{region}.amazonaws.com/v1/traces"),
                Some(Signer { aws: aws.clone(), ambient: ambient.clone(), region: region.clone() }),
            ),
            Some(other) => {
                return Err(ConfigError::invalid(
                    environment::TRACES,
                    format!("{other} is none of off, collector, cloudwatch"),
                ));
            }
        };
        let resource = resource(function, region);
        let finished = Finished::default();
        let share = environment::share(environment::TRACES_SAMPLE_RATE, 1.0)?;
        let provider = SdkTracerProvider::builder()
            // By the trace id alone: a stranger's sampling flag must not decide our bill.
            .with_sampler(Sampler::TraceIdRatioBased(share))
            .with_span_processor(finished.clone())
            .with_resource(resource.clone())
            .build();
        Ok(Some(Self {
            provider,
            finished,
            resource: Arc::new((&resource).into()),
            endpoint: environment::optional(environment::TRACES_ENDPOINT).unwrap_or(endpoint).into(),
            signer,
            client: HttpClient::new(EXPORT_TIMEOUT),
            breaker: Arc::default(),
        }))
    }

    /// The layer that records spans.
    pub(super) fn layer<S: Subscriber + for<'a> LookupSpan<'a>>(&self) -> OpenTelemetryLayer<S, SdkTracer> {
        tracing_opentelemetry::layer()
            .with_location(false)
            .with_threads(false)
            .with_tracked_inactivity(false)
            // A span joins its trace after it was entered: the trace is known only then.
            .with_context_activation(false)
            .with_tracer(self.provider.tracer("souk"))
    }

    /// Exports the ended spans. Best effort: without an answer in time they are lost.
    #[boxed]
    pub async fn send(&self, time_left: Duration) {
        let spans = self.finished.take();
        if spans.is_empty() || self.breaker.is_open(Instant::now().into_std()) {
            return;
        }
        let spans_lost = spans.len();
        let request =
            ExportTraceServiceRequest { resource_spans: group_spans_by_resource_and_scope(spans, &self.resource) };
        match tokio::time::timeout(time_left.min(EXPORT_TIMEOUT), self.post(request.encode_to_vec())).await {
            Ok(Ok(())) => self.breaker.succeeded(),
            Ok(Err(cause)) => self.lost(spans_lost, &cause),
            Err(_) => self.lost(spans_lost, "no answer in time"),
        }
    }

    fn lost(&self, spans_lost: usize, cause: &str) {
        self.breaker.failed(Instant::now().into_std());
        tracing::warn!(spans_lost, cause, "spans are lost: the export failed");
    }

    async fn post(&self, body: Vec<u8>) -> Result<(), String> {
        let mut headers = vec![("content-type".to_owned(), "application/x-protobuf".to_owned())];
        if let Some(signer) = &self.signer {
            headers.extend(signer.headers(&self.endpoint, &headers, &body).await?);
        }
        let reply =
            self.client.send("POST", &self.endpoint, &headers, body.into()).await.map_err(|error| chain(&error))?;
        let refused = ExportTraceServiceResponse::decode(&*reply.body).unwrap_or_default().partial_success;
        if let Some(refused) = refused.filter(|refused| refused.rejected_spans > 0) {
            tracing::warn!(
                spans_lost = refused.rejected_spans,
                cause = refused.error_message,
                "some spans were rejected"
            );
        }
        Ok(())
    }
}

/// The recording resource, by OpenTelemetry's names: <https://opentelemetry.io/docs/specs/semconv/resource/faas/>.
fn resource(function: &'static str, region: String) -> Resource {
    let told = [
        ("service.namespace", environment::optional(environment::SERVICE_NAME)),
        ("deployment.environment.name", environment::optional(environment::STAGE)),
        ("cloud.region", Some(region)),
        ("faas.name", environment::optional("AWS_LAMBDA_FUNCTION_NAME")),
        ("faas.version", environment::optional("AWS_LAMBDA_FUNCTION_VERSION")),
    ];
    Resource::builder_empty()
        .with_service_name(function)
        .with_attributes([KeyValue::new("cloud.provider", "aws"), KeyValue::new("cloud.platform", "aws_lambda")])
        .with_attributes(told.into_iter().filter_map(|(key, value)| Some(KeyValue::new(key, value?))))
        .build()
}

/// Ended spans that are not exported yet.
#[derive(Clone, Debug, Default)]
struct Finished(Arc<Mutex<Vec<SpanData>>>);

impl Finished {
    fn take(&self) -> Vec<SpanData> {
        mem::take(&mut *self.spans())
    }

    fn spans(&self) -> MutexGuard<'_, Vec<SpanData>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl SpanProcessor for Finished {
    fn on_start(&self, _: &mut Span, _: &opentelemetry::Context) {}

    fn on_end(&self, span: SpanData) {
        let mut spans = self.spans();
        if span.span_context.is_sampled() && spans.len() < MAX_PENDING_SPANS {
            spans.push(span);
        }
    }

    fn force_flush(&self) -> OTelSdkResult {
        Ok(())
    }

    fn shutdown_with_timeout(&self, _: Duration) -> OTelSdkResult {
        Ok(())
    }
}

/// Signs requests to CloudWatch (AWS Signature Version 4).
#[derive(Clone)]
struct Signer {
    aws: Aws,
    ambient: Ambient,
    region: String,
}

impl Signer {
    /// The headers of a signed request.
    async fn headers(
        &self,
        url: &str,
        headers: &[(String, String)],
        body: &[u8],
    ) -> Result<Vec<(String, String)>, String> {
        let provider = self.aws.config().await.credentials_provider().ok_or("there are no AWS credentials")?;
        let credentials = provider.provide_credentials().await.map_err(|error| chain(&error))?.into();
        let params = v4::SigningParams::builder()
            .identity(&credentials)
            .region(&self.region)
            .name("xray")
            .time(self.ambient.now().into())
            .settings(SigningSettings::default())
            .build()
            .map_err(|error| chain(&error))?
            .into();
        let signed = headers.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        let request =
            SignableRequest::new("POST", url, signed, SignableBody::Bytes(body)).map_err(|error| chain(&error))?;
        let (instructions, _) = sign(request, &params).map_err(|error| chain(&error))?.into_parts();
        Ok(instructions.headers().map(|(name, value)| (name.to_owned(), value.to_owned())).collect())
    }
}
