//! The Lambda authorizer: verifies the access token, and decides by the route whether its owner may go on.
//!
//! The public keys are in its environment. It asks Redis one thing, whether the token was revoked; where Redis does not answer, the
//! token counts until it expires.

use shared::{
    api,
    background::Authorizer,
    error::Problem,
    lambda::{Bearer, Decision},
};

shared::lambda!(Authorizer, handle);

async fn handle(needs: Needs, bearer: Bearer) -> Decision {
    let route = api::route(&bearer.route_key).ok_or(Problem::Forbidden)?;
    needs.authenticator.authenticate(route.access, bearer.token.as_deref()).await
}
