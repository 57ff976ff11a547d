//! What stands for "this endpoint has no path parameters, query or body".

use garde::Validate;
use serde::Deserialize;
use utoipa::openapi::path::{Parameter, ParameterIn};

/// No path parameters.
#[derive(Deserialize, Validate)]
pub struct NoPath {}

/// No query parameters; those that come are refused.
#[derive(Deserialize, Validate)]
#[serde(deny_unknown_fields)]
pub struct NoQuery {}

/// No body; one that comes is not looked at.
pub struct NoBody;

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
