//! Common paths, queries, bodies and replies: an id, or nothing.

use garde::Validate;
use serde::{Deserialize, Serialize};
use utoipa::{
    IntoParams, ToSchema,
    openapi::path::{Parameter, ParameterIn},
};
use uuid::Uuid;

/// `{id}` in the path.
#[derive(Deserialize, Validate, IntoParams)]
#[garde(allow_unvalidated)]
pub struct IdPath {
    pub id: Uuid,
}

/// No path parameters.
#[derive(Deserialize, Validate)]
pub struct NoPath {}

/// No query parameters; any other is refused.
#[derive(Deserialize, Validate)]
#[serde(deny_unknown_fields)]
pub struct NoQuery {}

/// No body; one that is sent is ignored.
pub struct NoBody;

/// A reply without a body: the status 204.
#[derive(Serialize, ToSchema)]
pub struct NoContent;

macro_rules! no_parameters {
    ($($name:ident)+) => {
        $(impl utoipa::IntoParams for $name {
            fn into_params(_: impl Fn() -> Option<ParameterIn>) -> Vec<Parameter> {
                Vec::new()
            }
        })+
    };
}
no_parameters!(NoPath NoQuery);
