//! The Lambda authorizer: verifies the access token, and checks the route's access rule.
//!
//! The public keys are in its environment. Its one call asks Redis whether the token was revoked. It fails open: while
//! Redis does not answer, a token counts until it expires.

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
