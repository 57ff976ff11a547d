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

#[cfg(test)]
mod tests {
    use std::{any::type_name, collections::BTreeSet, fs};

    use super::*;

    struct Declared {
        type_name: &'static str,
        name: &'static str,
        /// The variables that only an OpenID provider has.
        provider: Vec<&'static str>,
    }

    fn declared<S: LoginStrategy + Resource>() -> Declared {
        let is_of_provider =
            |name: &&str| ["_ISSUER", "_JWKS_URL", "_CLIENT_ID"].iter().any(|ending| name.ends_with(ending));
        let variables = S::requirements().into_iter().flat_map(|needed| needed.environment.iter().copied());
        Declared { type_name: type_name::<S>(), name: S::NAME, provider: variables.filter(is_of_provider).collect() }
    }

    macro_rules! all {
        ($($strategy:ty,)+) => { [$(declared::<$strategy>()),+] };
    }

    /// The registry takes the first one of a name: a second would never be asked.
    #[test]
    fn every_way_to_log_in_has_its_own_name_and_every_provider_its_own_variables_in_order() {
        let all = crate::for_each_login_strategy!(all);
        assert_eq!(all.iter().map(|declared| declared.name).collect::<BTreeSet<_>>().len(), all.len());
        for Declared { name, provider, .. } in all.iter().filter(|declared| !declared.provider.is_empty()) {
            let own = ["ISSUER", "JWKS_URL", "CLIENT_ID"].map(|what| format!("SOUK_{}_{what}", name.to_uppercase()));
            assert_eq!(*provider, own);
        }
    }

    #[test]
    fn every_strategy_and_every_provider_in_this_directory_is_listed() {
        let all = crate::for_each_login_strategy!(all);
        let mut count = 0;
        for entry in fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/src/auth/strategy")).unwrap() {
            let path = entry.unwrap().path();
            let text = fs::read_to_string(&path).unwrap();
            let lines = text.lines().filter(|line| line.starts_with("impl") && !path.ends_with("mod.rs"));
            for line in lines.filter(|line| line.contains("LoginStrategy for ") || line.contains("OpenIdProvider for "))
            {
                let (_, implementor) = line.rsplit_once(" for ").unwrap();
                let implementor: String = implementor.chars().take_while(char::is_ascii_alphanumeric).collect();
                let is_listed =
                    |declared: &Declared| declared.type_name.split([':', '<', '>']).any(|name| name == implementor);
                assert!(all.iter().any(is_listed), "{} has {implementor}, which is not listed", path.display());
                count += 1;
            }
        }
        assert!(count > all.len(), "{count}");
    }
}
