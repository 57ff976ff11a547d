//! HTTP endpoints: read, run, reply, one log line.

use std::future::Future;

use aws_lambda_events::apigw::{ApiGatewayV2httpRequest, ApiGatewayV2httpResponse};
use aws_lambda_events::http::HeaderValue;
use tokio::time::Instant;

use super::{Call, Ended, Reply, Request, Serve, contained, continue_trace, reply};
use crate::{
    contract::{Endpoint, Function},
    error::{ApiError, Problem},
    telemetry::Trace,
};

/// The kind of a function that answers HTTP requests from API Gateway (HTTP API, payload 2.0).
pub struct Http;

impl<E, H, O, R> Serve<E, H, O> for Http
where
    E: Endpoint<Kind = Self>,
    H: Fn(E::Needs, Request<E>) -> O + Send + Sync,
    O: Future<Output = Result<R, ApiError>> + Send,
    R: Into<Reply<E::Reply>> + Send,
{
    type Output = ApiGatewayV2httpResponse;

    async fn serve(call: Call<E>, handler: H) -> Result<Self::Output, String> {
        let started = Instant::now();
        let event = serde_json::from_str::<ApiGatewayV2httpRequest>(call.event.get());
        let request_id = event.as_ref().ok().and_then(|event| event.request_context.request_id.clone());
        let request_id = request_id.unwrap_or_default();
        let result = match event {
            Ok(event) => answer(call, &event, handler).await,
            // Not from API Gateway: somebody invokes the function itself.
            Err(error) => Err(ApiError::new(Problem::MalformedRequest, format!("Not an HTTP API event: {error}"))),
        };
        let mut response = match &result {
            Ok(response) => response.clone(),
            Err(error) => reply::problem(error, &request_id),
        };
        if let Ok(value) = HeaderValue::try_from(&request_id) {
            response.headers.insert("x-request-id", value);
        }
        log::<E>(&request_id, response.status_code, result.as_ref().err(), started);
        Ok(response)
    }
}

async fn answer<E, H, O, R>(
    call: Call<E>,
    event: &ApiGatewayV2httpRequest,
    handler: H,
) -> Result<ApiGatewayV2httpResponse, ApiError>
where
    E: Endpoint + Function,
    H: Fn(E::Needs, Request<E>) -> O,
    O: Future<Output = Result<R, ApiError>>,
    R: Into<Reply<E::Reply>>,
{
    let traceparent = event.headers.get("traceparent").and_then(|value| value.to_str().ok());
    let xray = event.headers.get("x-amzn-trace-id").and_then(|value| value.to_str().ok());
    let trace = Trace::of(traceparent, xray, &call.ambient);
    continue_trace(&trace);
    let request = Request::read(event, call.ambient, trace)?;
    match contained(handler(call.needs, request), call.time_left).await {
        Ok(result) => result?.into().into_response(E::STATUS),
        Err(ended @ Ended::Panicked) => Err(ApiError::internal(ended)),
        Err(ended @ Ended::TimedOut) => Err(ApiError::unavailable(ended)),
    }
}

fn log<E: Endpoint>(request_id: &str, status: i64, error: Option<&ApiError>, started: Instant) {
    let latency_ms = started.elapsed().as_secs_f64() * 1e3;
    let route = E::ROUTE_KEY;
    let problem = error.map(|error| error.problem().urn());
    let cause = error.and_then(ApiError::cause);
    if status >= 500 {
        tracing::error!(route, status, latency_ms, request_id, problem, cause, "request");
    } else {
        tracing::info!(route, status, latency_ms, request_id, problem, cause, "request");
    }
}
