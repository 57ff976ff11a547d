//! `POST /v1/auth/login`: an access token for whoever can prove who they are, in one of several ways.

use shared::{
    api::auth::{AuthLogin, Tokens},
    auth::{Caller, strategy::Registry, token},
    error::ApiError,
    lambda::Request,
};

shared::lambda!(AuthLogin, handle);

async fn handle(needs: Needs, req: Request<AuthLogin>) -> Result<Tokens, ApiError> {
    let identity = Registry::new(&needs.mongodb).authenticate(req.body).await?;
    let caller = Caller { user_id: identity.user_id, session_id: req.ambient.id(), roles: identity.roles };
    let access_token = needs.tokens.sign(&caller, req.ambient.id(), req.ambient.now()).await?;
    Ok(Tokens { access_token, token_type: "Bearer", expires_in: token::LIFETIME.whole_seconds() })
}
