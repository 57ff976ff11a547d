//! Ways to log in (Strategy), and the registry that looks one up by the name in a request (Factory).
//!
//! Another way takes one file here and one line in [`for_each_login_strategy!`](crate::for_each_login_strategy).

mod email;
mod openid;
mod otp;

pub use self::{
    email::Email,
    openid::{Google, OpenId, OpenIdProvider},
    otp::Otp,
};
use std::{future::Future, pin::Pin};

use garde::Validate;
use serde::{
    Deserialize, Deserializer,
    de::{DeserializeOwned, Error as _},
};
use serde_json::value::RawValue;
use utoipa::{
    PartialSchema, ToSchema,
    openapi::{
        RefOr,
        schema::{OneOfBuilder, Schema},
    },
};
use uuid::Uuid;

use crate::{
    ambient::Ambient,
    contract::{Requirements, Resource, ResourceContext, read_json},
    environment::ConfigError,
    error::ApiError,
};

/// An authenticated user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    pub user_id: Uuid,
    /// The user's epoch at authentication: a session ends when its user's epoch changes.
    pub epoch: u64,
}

/// A way to log in.
pub trait LoginStrategy: Send + Sync + 'static {
    /// The request's `strategy`.
    const NAME: &'static str;
    /// The credentials: the whole body of the request, `strategy` included.
    type Credentials: DeserializeOwned + Validate<Context = ()> + ToSchema + Send;

    /// Authenticates the user of these credentials.
    ///
    /// # Errors
    /// [`crate::error::Problem::InvalidCredentials`], after the same time, whichever part of them is wrong.
    fn authenticate(
        &self,
        credentials: Self::Credentials,
        ambient: &Ambient,
    ) -> impl Future<Output = Result<Identity, ApiError>> + Send;
}

/// Calls a macro with every strategy's type.
#[macro_export]
macro_rules! for_each_login_strategy {
    ($macro:ident) => {
        $macro! {
            $crate::auth::strategy::Email,
            $crate::auth::strategy::Otp,
            $crate::auth::strategy::OpenId<$crate::auth::strategy::Google>,
        }
    };
}

macro_rules! strategies {
    ($($strategy:ty,)+) => {
        impl Resource for Registry {
            fn requirements() -> Vec<Requirements> {
                [$(<$strategy as Resource>::requirements()),+].concat()
            }

            fn open(context: &ResourceContext) -> Result<Self, ConfigError> {
                Ok(Self(Vec::new())$(.with(<$strategy as Resource>::open(context)?))+)
            }
        }

        impl PartialSchema for LoginRequest {
            fn schema() -> RefOr<Schema> {
                let one_of = OneOfBuilder::new()$(.item(<$strategy as LoginStrategy>::Credentials::schema()))+;
                RefOr::T(Schema::OneOf(one_of.build()))
            }
        }

        impl ToSchema for LoginRequest {
            fn name() -> std::borrow::Cow<'static, str> {
                "LoginRequest".into()
            }

            fn schemas(schemas: &mut Vec<(String, RefOr<Schema>)>) {
                $(<$strategy as LoginStrategy>::Credentials::schemas(schemas);)+
            }
        }
    };
}

crate::for_each_login_strategy!(strategies);

/// The registered ways to log in.
#[derive(Clone)]
pub struct Registry(Vec<std::sync::Arc<dyn DynLoginStrategy>>);

impl Registry {
    /// Adds a strategy.
    #[must_use]
    pub fn with(mut self, strategy: impl LoginStrategy) -> Self {
        self.0.push(std::sync::Arc::new(strategy));
        self
    }

    /// Logs in with the strategy that the request names.
    ///
    /// # Errors
    /// Those of the strategy; [`crate::error::Problem::ValidationFailed`] for an unknown name.
    pub async fn authenticate(&self, request: LoginRequest, ambient: &Ambient) -> Result<Identity, ApiError> {
        let strategy = self.0.iter().find(|strategy| strategy.name() == request.strategy);
        let strategy = strategy.ok_or_else(|| ApiError::field("strategy", "is not a way to log in"))?;
        strategy.authenticate(request.text.get(), ambient).await
    }
}

/// A strategy as a trait object: looked up by name, given the raw request.
trait DynLoginStrategy: Send + Sync {
    fn name(&self) -> &'static str;
    fn authenticate<'a>(&'a self, request: &'a str, ambient: &'a Ambient) -> Attempt<'a>;
}

type Attempt<'a> = Pin<Box<dyn Future<Output = Result<Identity, ApiError>> + Send + 'a>>;

impl<S: LoginStrategy> DynLoginStrategy for S {
    fn name(&self) -> &'static str {
        S::NAME
    }

    fn authenticate<'a>(&'a self, request: &'a str, ambient: &'a Ambient) -> Attempt<'a> {
        Box::pin(async move {
            let credentials = read_json(request.as_bytes())?;
            LoginStrategy::authenticate(self, credentials, ambient).await
        })
    }
}

/// A login: `strategy`, and the credentials that the strategy itself parses.
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
