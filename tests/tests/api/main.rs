//! The API over HTTP, through the gateway and the real authorizer; its folders mirror the paths.

mod access;
mod auth;
mod background;
mod bodies;
mod health;
mod notifications;
mod orders;
mod products;
mod users;
