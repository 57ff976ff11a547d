//! Who may call an endpoint: a rule as data for the authorizer, and as a type for the handler.

use std::marker::PhantomData;

use crate::{
    error::{ApiError, Problem},
    identity::{Caller, Permission},
};

/// An access rule, as data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Anybody; the route has no authorizer.
    Public,
    /// Anybody who is logged in.
    User,
    /// Callers with a role that has this permission.
    Permission(Permission),
}

impl Access {
    /// Whether the rule lets this caller in. The authorizer asks before the function runs, and the function asks again.
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

/// An access rule, as a type: what the handler gets for a caller follows from it.
pub trait AccessRule: Send + Sync + 'static {
    const ACCESS: Access;
    /// `()` where anybody may call, a [`Caller`] everywhere else.
    type Caller: Send;

    /// Admits a caller that [`Access::check`] let in.
    ///
    /// # Errors
    /// As [`Access::check`].
    fn admit(caller: Option<Caller>) -> Result<Self::Caller, ApiError>;
}

/// Anybody may call.
pub struct Public;

impl AccessRule for Public {
    const ACCESS: Access = Access::Public;
    type Caller = ();

    fn admit(_: Option<Caller>) -> Result<(), ApiError> {
        Ok(())
    }
}

/// Anybody who is logged in may call.
pub struct User;

impl AccessRule for User {
    const ACCESS: Access = Access::User;
    type Caller = Caller;

    fn admit(caller: Option<Caller>) -> Result<Caller, ApiError> {
        admit(Self::ACCESS, caller)
    }
}

/// Callers with a permission, named by its type in [`crate::identity::permission`], may call.
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
