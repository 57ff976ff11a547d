//! Ways to log in (Strategy), and the registry that finds the one that a request names (Factory).
//!
//! Another way is one file here and one line in [`Registry::new`].

mod email;

use std::{future::Future, pin::Pin};

use garde::Validate;
use serde::{Deserialize, Deserializer, de::Error as _};
use serde_json::value::RawValue;
use utoipa::{
    PartialSchema, ToSchema,
    openapi::{
        RefOr,
        schema::{OneOfBuilder, Schema},
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

    /// Finds out who comes with this request, which is JSON text with a `strategy` and whatever else the strategy asks for.
    ///
    /// The error is [`crate::error::Problem::InvalidCredentials`], after the same time, whichever part of them is wrong.
    fn authenticate<'a>(&'a self, request: &'a str) -> Attempt<'a>;
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
        strategy.authenticate(request.text.get()).await
    }
}

/// A login: `strategy`, and whatever that strategy asks for, which it reads itself.
pub struct LoginRequest {
    strategy: String,
    text: Box<RawValue>,
}

impl<'de> Deserialize<'de> for LoginRequest {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        struct Named {
            strategy: String,
        }
        let text = Box::<RawValue>::deserialize(deserializer)?;
        let Named { strategy } = serde_json::from_str(text.get()).map_err(D::Error::custom)?;
        Ok(Self { strategy, text })
    }
}

impl Validate for LoginRequest {
    type Context = ();

    /// The strategy validates its own members.
    fn validate_into(&self, (): &(), _: &mut dyn FnMut() -> garde::Path, _: &mut garde::Report) {}
}

impl PartialSchema for LoginRequest {
    fn schema() -> RefOr<Schema> {
        let one_of = OneOfBuilder::new().item(email::Credentials::schema());
        RefOr::T(Schema::OneOf(one_of.build()))
    }
}

impl ToSchema for LoginRequest {
    fn name() -> std::borrow::Cow<'static, str> {
        "LoginRequest".into()
    }
}
