//! Roles and permissions: one table.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// A permission as a type, for [`crate::contract::Requires`].
pub trait Named: Send + Sync + 'static {
    const PERMISSION: Permission;
}

macro_rules! permissions {
    ($($(#[doc = $doc:literal])+ $name:ident = $text:literal,)+) => {
        /// A permission, granted by a role.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Permission { $($(#[doc = $doc])+ $name,)+ }

        impl Permission {
            pub const ALL: &[Self] = &[$(Self::$name,)+];

            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$name => $text,)+ }
            }
        }

        $($(#[doc = $doc])+ pub struct $name;

        impl Named for $name {
            const PERMISSION: Permission = Permission::$name;
        })+
    };
}

permissions! {
    /// Create, change, restock and delete products.
    ProductsWrite = "products:write",
    /// Export all products.
    ProductsReadAll = "products:read-all",
    /// See everybody's orders.
    OrdersReadAll = "orders:read-all",
    /// Confirm, ship and deliver orders, and take them back.
    OrdersFulfil = "orders:fulfil",
    /// Cancel anybody's orders, for a reason.
    OrdersCancelAny = "orders:cancel-any",
    /// Have reports made.
    ReportsWrite = "reports:write",
    /// See everybody's reports.
    ReportsRead = "reports:read",
    /// See all users.
    UsersRead = "users:read",
    /// Change roles, disable, delete and restore users.
    UsersWrite = "users:write",
}

/// A user's role.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Buys. Every registered user starts as one.
    Customer,
    /// Maintains the catalogue and fulfils orders.
    Staff,
    /// Has every permission.
    Admin,
}

impl Role {
    /// The permissions of a role.
    #[must_use]
    pub const fn permissions(self) -> &'static [Permission] {
        match self {
            Self::Customer => &[],
            Self::Staff => &[
                Permission::ProductsWrite,
                Permission::ProductsReadAll,
                Permission::OrdersReadAll,
                Permission::OrdersFulfil,
                Permission::OrdersCancelAny,
                Permission::ReportsWrite,
                Permission::ReportsRead,
            ],
            Self::Admin => Permission::ALL,
        }
    }

    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Customer => "customer",
            Self::Staff => "staff",
            Self::Admin => "admin",
        }
    }
}

impl FromStr for Role {
    type Err = UnknownRole;

    fn from_str(text: &str) -> Result<Self, UnknownRole> {
        [Self::Customer, Self::Staff, Self::Admin].into_iter().find(|role| role.as_str() == text).ok_or(UnknownRole)
    }
}

/// The text is not a role's name.
#[derive(Debug, thiserror::Error)]
#[error("not a role")]
pub struct UnknownRole;

/// The roles of one user; `customer,staff` as text, for an authorizer's context.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(transparent)]
#[schema(value_type = HashSet<Role>, min_items = 1)]
pub struct Roles(pub Vec<Role>);

impl Roles {
    #[must_use]
    pub fn allow(&self, permission: Permission) -> bool {
        self.0.iter().any(|role| role.permissions().contains(&permission))
    }
}

impl fmt::Display for Roles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.iter().map(|role| role.as_str()).collect::<Vec<_>>().join(","))
    }
}

impl FromStr for Roles {
    type Err = UnknownRole;

    fn from_str(text: &str) -> Result<Self, UnknownRole> {
        text.split(',').map(str::parse).collect::<Result<_, _>>().map(Self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn customers_have_no_permission_and_admins_have_all() {
        assert!(Permission::ALL.iter().all(|&permission| Roles(vec![Role::Admin]).allow(permission)));
        assert!(!Permission::ALL.iter().any(|&permission| Roles(vec![Role::Customer]).allow(permission)));
    }

    #[test]
    fn roles_survive_the_authorizer_context() {
        let roles = Roles(vec![Role::Customer, Role::Staff]);
        assert_eq!(roles.to_string().parse::<Roles>().unwrap(), roles);
        assert!("".parse::<Roles>().is_err());
        assert!("customer,root".parse::<Roles>().is_err());
    }
}
