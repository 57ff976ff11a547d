//! The Lambda authorizer: verifies the access token, and decides by the route whether its owner may go on.
//!
//! It calls nobody: the public keys are in its environment.

use shared::{
    background::Authorizer,
    error::Problem,
    lambda::{Bearer, Decision},
};

shared::lambda!(Authorizer, handle);

async fn handle(needs: Needs, bearer: Bearer) -> Decision {
    let route = bearer.route.ok_or(Problem::Forbidden)?;
    let caller = bearer.token.and_then(|token| needs.tokens.verify(&token)).ok_or(Problem::Unauthenticated)?;
    route.access.check(Some(&caller))?;
    Ok(caller)
}
