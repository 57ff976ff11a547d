//! Ways to log in (Strategy), and the registry that finds the one that a request names (Factory).
//!
//! Another way is one file here and one line in [`Registry::new`].

mod email;

use std::{future::Future, pin::Pin};

use garde::Validate;
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::{Map, Value};
use utoipa::{
    PartialSchema, ToSchema,
    openapi::{
        RefOr,
        schema::{ObjectBuilder, OneOfBuilder, Schema, Type},
    },
};
use uuid::Uuid;

use super::Roles;
use crate::{error::ApiError, store::Mongodb};

/// Who logged in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    pub user_id: Uuid,
    pub roles: Roles,
}

/// What an attempt to log in comes to.
pub type Attempt<'a> = Pin<Box<dyn Future<Output = Result<Identity, ApiError>> + Send + 'a>>;

/// A way to log in.
pub trait LoginStrategy: Send + Sync {
    /// The request's `strategy`.
    fn name(&self) -> &'static str;

    /// Finds out who comes with these credentials, which are the request without its `strategy`.
    ///
    /// The error is [`crate::error::Problem::InvalidCredentials`], after the same time, whichever part of them is wrong.
    fn authenticate(&self, credentials: Value) -> Attempt<'_>;
}

/// The ways to log in that there are.
pub struct Registry(Vec<Box<dyn LoginStrategy>>);

impl Registry {
    /// All of them.
    #[must_use]
    pub fn new(mongodb: &Mongodb) -> Self {
        Self(vec![Box::new(email::Email { users: mongodb.clone() })])
    }

    /// Adds another one.
    #[must_use]
    pub fn with(mut self, strategy: Box<dyn LoginStrategy>) -> Self {
        self.0.push(strategy);
        self
    }

    /// Logs in with the strategy that the request names.
    ///
    /// # Errors
    /// Those of the strategy; [`crate::error::Problem::ValidationFailed`] if there is none of this name.
    pub async fn authenticate(&self, request: LoginRequest) -> Result<Identity, ApiError> {
        let strategy = self.0.iter().find(|strategy| strategy.name() == request.strategy);
        let strategy = strategy.ok_or_else(|| ApiError::field("strategy", "is not a way to log in"))?;
        strategy.authenticate(Value::Object(request.credentials)).await
    }
}

/// A login: `strategy`, and whatever that strategy asks for.
#[derive(Deserialize)]
pub struct LoginRequest {
    pub strategy: String,
    #[serde(flatten)]
    pub credentials: Map<String, Value>,
}

impl Validate for LoginRequest {
    type Context = ();

    /// The strategy validates its own members.
    fn validate_into(&self, (): &(), _: &mut dyn FnMut() -> garde::Path, _: &mut garde::Report) {}
}

impl PartialSchema for LoginRequest {
    fn schema() -> RefOr<Schema> {
        let one_of = OneOfBuilder::new().item(named("email", email::Credentials::schema()));
        RefOr::T(Schema::OneOf(one_of.build()))
    }
}

impl ToSchema for LoginRequest {
    fn name() -> std::borrow::Cow<'static, str> {
        "LoginRequest".into()
    }
}

/// The credentials' schema with the strategy's name in it.
fn named(name: &'static str, schema: RefOr<Schema>) -> RefOr<Schema> {
    let RefOr::T(Schema::Object(mut object)) = schema else { return schema };
    let strategy = ObjectBuilder::new().schema_type(Type::String).enum_values(Some([name])).build();
    object.properties.insert("strategy".into(), RefOr::T(Schema::Object(strategy)));
    object.required.insert(0, "strategy".into());
    RefOr::T(Schema::Object(object))
}

/// Reads what a strategy asks for.
fn credentials<T: DeserializeOwned + Validate<Context = ()>>(value: &Value) -> Result<T, ApiError> {
    let bytes = serde_json::to_vec(value).map_err(ApiError::internal)?;
    crate::lambda::read_json(&bytes)
}
