//! Resources: the stores, queues and secrets of a function.
//!
//! Each declares the environment variables it is opened from and the IAM actions it uses, so that a test compares code,
//! environment and policy.

use std::{
    any::{Any, TypeId},
    collections::HashMap,
    future::Future,
    sync::{Mutex, PoisonError},
};

use crate::{ambient::Ambient, aws::Aws, environment::ConfigError};

/// An IAM action on one target.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Grant {
    /// For example `sqs:SendMessage`.
    pub action: &'static str,
    pub target: Target,
}

/// The target of a [`Grant`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Target {
    /// The secret `souk/STAGE/NAME`.
    Secret(&'static str),
    /// The queue `souk-STAGE-NAME`.
    Queue(&'static str),
    /// The dead-letter queue `souk-STAGE-NAME-dlq` of the queue with this name.
    DeadLetterQueue(&'static str),
    /// The topic `souk-STAGE-NAME`.
    Topic(&'static str),
    /// The SES identity that mail is sent from.
    EmailIdentity,
}

/// The prerequisites of a resource.
#[derive(Clone, Copy, Debug, Default)]
pub struct Requirements {
    /// Environment variables, all required.
    pub environment: &'static [&'static str],
    /// IAM actions of the function's role.
    pub grants: &'static [Grant],
}

/// A dependency of a function. Clones share one connection or pool.
pub trait Resource: Clone + Send + Sync + 'static {
    /// Its own prerequisites, and those of the resources it is made of.
    fn requirements() -> Vec<Requirements>;

    /// Reads the configuration, without connecting: a function has to start while a store is down.
    ///
    /// # Errors
    /// When the environment lacks a variable of [`Resource::requirements`], or holds an invalid one.
    fn open(context: &ResourceContext) -> Result<Self, ConfigError>;

    /// Connects during initialisation, to spare the first request. A failure is no error: the first use tries again.
    fn warm(&self) -> impl Future<Output = ()> + Send {
        std::future::ready(())
    }
}

/// The context that resources are opened in.
pub struct ResourceContext {
    /// AWS clients, which share one configuration and one HTTP client.
    pub aws: Aws,
    pub ambient: Ambient,
    opened: Mutex<HashMap<TypeId, Box<dyn Any + Send + Sync>>>,
}

impl ResourceContext {
    /// The system's clock and randomness, and the AWS configuration of the environment.
    #[must_use]
    pub fn system() -> Self {
        Self::new(Aws::default(), Ambient::system())
    }

    #[must_use]
    pub fn new(aws: Aws, ambient: Ambient) -> Self {
        Self { aws, ambient, opened: Mutex::default() }
    }

    /// The resource of this type, opened once and shared.
    ///
    /// # Errors
    /// As [`Resource::open`].
    pub fn get<R: Resource>(&self) -> Result<R, ConfigError> {
        let opened = self
            .opened
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get(&TypeId::of::<R>())
            .map(|open| open.downcast_ref::<R>().cloned());
        if let Some(Some(resource)) = opened {
            return Ok(resource);
        }
        let resource = R::open(self)?;
        self.opened
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(TypeId::of::<R>(), Box::new(resource.clone()));
        Ok(resource)
    }
}

/// The resources of one function; implemented by the `needs` of a declaration.
pub trait Needs: Clone + Send + Sync + 'static {
    /// The prerequisites of all of them.
    fn requirements() -> Vec<Requirements>;

    /// Opens all of them.
    ///
    /// # Errors
    /// The first [`ConfigError`].
    fn open(context: &ResourceContext) -> Result<Self, ConfigError>;

    /// Warms all of them, concurrently.
    fn warm(&self) -> impl Future<Output = ()> + Send;
}

/// Declares a type as a function: its name, its kind, and the struct of its resources.
#[doc(hidden)]
#[macro_export]
macro_rules! function {
    ($name:ident = $function:literal $kind:ty { $($field:ident: $resource:ty),* $(,)? }) => {
        const _: () = {
            #[derive(Clone)]
            pub struct Needs { $(pub $field: $resource,)* }

            impl $crate::contract::Needs for Needs {
                fn requirements() -> Vec<$crate::contract::Requirements> {
                    let requirements: &[Vec<$crate::contract::Requirements>] =
                        &[$(<$resource as $crate::contract::Resource>::requirements(),)*];
                    requirements.concat()
                }

                fn open(
                    #[allow(unused_variables, reason = "not used where nothing is needed")]
                    context: &$crate::contract::ResourceContext,
                ) -> Result<Self, $crate::environment::ConfigError> {
                    Ok(Self { $($field: context.get::<$resource>()?,)* })
                }

                async fn warm(&self) {
                    tokio::join!($($crate::contract::Resource::warm(&self.$field),)*);
                }
            }

            impl $crate::contract::Function for $name {
                const NAME: &'static str = $function;
                type Needs = Needs;
                type Kind = $kind;
            }
        };
    };
}
