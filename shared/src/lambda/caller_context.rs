//! The caller as the authorizer hands it to functions, through the gateway.

use aws_lambda_events::apigw::ApiGatewayRequestAuthorizer;
use serde::{Deserialize, Serialize};

use crate::identity::Caller;

/// The authorizer's context: text only, since that is what reaches every kind of integration.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct CallerContext {
    sub: String,
    sid: String,
    roles: String,
}

impl From<Caller> for CallerContext {
    fn from(caller: Caller) -> Self {
        let Caller { user_id, session_id, roles } = caller;
        Self { sub: user_id.to_string(), sid: session_id.to_string(), roles: roles.to_string() }
    }
}

/// The caller that a function finds in its event. A context that is not complete is no caller.
pub(super) fn caller(authorizer: &ApiGatewayRequestAuthorizer) -> Option<Caller> {
    let field = |name: &str| authorizer.fields.get(name)?.as_str();
    Some(Caller {
        user_id: field("sub")?.parse().ok()?,
        session_id: field("sid")?.parse().ok()?,
        roles: field("roles")?.parse().ok()?,
    })
}
