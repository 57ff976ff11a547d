//! The Lambda authorizer (payload 2.0, simple responses): decides by the route whether a request may go on.

use std::future::Future;

use aws_lambda_events::apigw::{ApiGatewayV2CustomAuthorizerSimpleResponse, ApiGatewayV2CustomAuthorizerV2Request};
use tokio::time::Instant;

use super::{CallerContext, Invocation, Serve};
use crate::{auth, contract::Function, error::Problem, identity::Caller};

/// The kind of a function that decides for API Gateway.
pub struct Authorizer;

/// What the authorizer is asked about: a route, and the token that came with the request.
pub struct Bearer {
    /// As in [`crate::contract::Route::route_key`].
    pub route_key: String,
    /// What follows `Bearer ` in the `Authorization` header.
    pub token: Option<String>,
}

/// What the authorizer answers: the caller, or why not.
pub type Decision = Result<Caller, Problem>;

impl<F, H, O> Serve<F, H, O> for Authorizer
where
    F: Function<Kind = Self>,
    H: Fn(F::Needs, Bearer) -> O + Send + Sync,
    O: Future<Output = Decision> + Send,
{
    type Output = ApiGatewayV2CustomAuthorizerSimpleResponse<CallerContext>;

    const IS_TRACED: bool = false;

    async fn serve(call: Invocation<F>, handler: H) -> Result<Self::Output, String> {
        let started = Instant::now();
        let event: ApiGatewayV2CustomAuthorizerV2Request = serde_json::from_str(call.event.get())
            .map_err(|error| format!("not an authorizer event of payload version 2.0: {error}"))?;
        let route_key = event.route_key.as_deref().unwrap_or_default();
        let decision = handler(call.needs, Bearer { route_key: route_key.to_owned(), token: token(&event) }).await;

        let latency_ms = started.elapsed().as_secs_f64() * 1e3;
        let problem = decision.as_ref().err().map(|problem| problem.urn());
        tracing::info!(route = route_key, allowed = decision.is_ok(), problem, latency_ms, "authorization");

        let mut response = ApiGatewayV2CustomAuthorizerSimpleResponse::default();
        response.is_authorized = decision.is_ok();
        response.context = decision.map(CallerContext::from).unwrap_or_default();
        Ok(response)
    }
}

fn token(event: &ApiGatewayV2CustomAuthorizerV2Request) -> Option<String> {
    auth::bearer(event.headers.get("authorization")?.to_str().ok()?).map(str::to_owned)
}
