//! The caller of an endpoint, and what follows from that for queries.

use uuid::Uuid;

use super::{Permission, Roles, permission::Named};

/// A user who came with a valid access token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    pub user_id: Uuid,
    /// The login that the token belongs to.
    pub session_id: Uuid,
    pub roles: Roles,
}

/// Somebody who reads or changes what is their own. Queries of things that belong to users take it instead of an id: it comes only
/// from a [`Caller`], never from a path or a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Owner(Uuid);

impl Owner {
    #[must_use]
    pub const fn user_id(self) -> Uuid {
        self.0
    }
}

/// Whose things a caller may see.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    Own(Owner),
    Everybody,
}

impl Caller {
    /// The caller as the owner of what is theirs.
    #[must_use]
    pub const fn owner(&self) -> Owner {
        Owner(self.user_id)
    }

    /// Everybody's things with the permission `P`, else the caller's own.
    #[must_use]
    pub fn scope<P: Named>(&self) -> Scope {
        if self.may(P::PERMISSION) { Scope::Everybody } else { Scope::Own(self.owner()) }
    }

    #[must_use]
    pub fn may(&self, permission: Permission) -> bool {
        self.roles.allow(permission)
    }
}
