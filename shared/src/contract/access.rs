//! Access rules of endpoints: data for the authorizer, types for the handler.

use std::marker::PhantomData;

use crate::{
    error::{ApiError, Problem},
    identity::{Caller, Permission},
};

/// An access rule, as data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// No authentication; the route has no authorizer.
    Public,
    /// Any authenticated caller.
    User,
    /// Callers with a role that has this permission.
    Permission(Permission),
}

impl Access {
    /// Whether the rule lets this caller in. Defence in depth: the authorizer checks before the function runs, and the
    /// function checks again.
    ///
    /// # Errors
    /// [`Problem::Unauthenticated`] without a caller, [`Problem::Forbidden`] for one without the permission.
    pub fn check(self, caller: Option<&Caller>) -> Result<(), Problem> {
        match (self, caller) {
            (Self::Public, _) | (Self::User, Some(_)) => Ok(()),
            (Self::Permission(permission), Some(caller)) if caller.may(permission) => Ok(()),
            (Self::Permission(_), Some(_)) => Err(Problem::Forbidden),
            (_, None) => Err(Problem::Unauthenticated),
        }
    }
}

/// An access rule, as a type that decides what the handler gets as its caller.
pub trait AccessRule: Send + Sync + 'static {
    const ACCESS: Access;
    /// `()` for a public endpoint, a [`Caller`] for every other one.
    type Caller: Send;

    /// Admits a caller that [`Access::check`] let in.
    ///
    /// # Errors
    /// As [`Access::check`].
    fn admit(caller: Option<Caller>) -> Result<Self::Caller, ApiError>;
}

/// No authentication.
pub struct Public;

impl AccessRule for Public {
    const ACCESS: Access = Access::Public;
    type Caller = ();

    fn admit(_: Option<Caller>) -> Result<(), ApiError> {
        Ok(())
    }
}

/// Any authenticated caller.
pub struct User;

impl AccessRule for User {
    const ACCESS: Access = Access::User;
    type Caller = Caller;

    fn admit(caller: Option<Caller>) -> Result<Caller, ApiError> {
        admit(Self::ACCESS, caller)
    }
}

/// Callers with a permission, named by its type in [`crate::identity::permission`].
pub struct Requires<P>(PhantomData<P>);

impl<P: crate::identity::permission::Named> AccessRule for Requires<P> {
    const ACCESS: Access = Access::Permission(P::PERMISSION);
    type Caller = Caller;

    fn admit(caller: Option<Caller>) -> Result<Caller, ApiError> {
        admit(Self::ACCESS, caller)
    }
}

fn admit(access: Access, caller: Option<Caller>) -> Result<Caller, ApiError> {
    access.check(caller.as_ref())?;
    caller.ok_or_else(|| Problem::Unauthenticated.into())
}
