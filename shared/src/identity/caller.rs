//! The caller of an endpoint, and the scope of its queries.

use uuid::Uuid;

use super::{Permission, Roles, permission::Named};

/// An authenticated caller: a user with a valid access token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    pub user_id: Uuid,
    /// The session of the token.
    pub session_id: Uuid,
    pub roles: Roles,
}

/// The owner of resources. Queries of a user's resources take it instead of an id: it comes only from a [`Caller`],
/// never from a path or a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Owner(Uuid);

impl Owner {
    #[must_use]
    pub const fn user_id(self) -> Uuid {
        self.0
    }
}

/// Whose resources a caller may see.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    Own(Owner),
    Everybody,
}

impl Caller {
    /// The caller as the owner of its resources.
    #[must_use]
    pub const fn owner(&self) -> Owner {
        Owner(self.user_id)
    }

    /// Everybody's resources with the permission `P`, else the caller's own.
    #[must_use]
    pub fn scope<P: Named>(&self) -> Scope {
        if self.may(P::PERMISSION) { Scope::Everybody } else { Scope::Own(self.owner()) }
    }

    #[must_use]
    pub fn may(&self, permission: Permission) -> bool {
        self.roles.allow(permission)
    }
}
