//! People to test with.

use std::sync::LazyLock;

use serde_json::json;
use uuid::Uuid;

use crate::Call;

/// Of every user that is made here or by the seed.
pub const PASSWORD: &str = "correct-horse-battery-staple";

/// The seeded admin's access token.
#[must_use]
pub fn admin() -> &'static str {
    static TOKEN: LazyLock<String> = LazyLock::new(|| log_in("admin@souk.example"));
    &TOKEN
}

/// The seeded customer's access token.
#[must_use]
pub fn customer() -> &'static str {
    static TOKEN: LazyLock<String> = LazyLock::new(|| log_in("customer@souk.example"));
    &TOKEN
}

/// An address that nobody has.
#[must_use]
pub fn new_address() -> String {
    format!("test-{}@souk.example", random())
}

/// Registers a customer with a new address, and returns the address.
#[must_use]
pub fn register() -> String {
    let email = new_address();
    let _ = Call::post("/v1/auth/register").json(json!({ "email": email, "password": PASSWORD })).send().expect(202);
    email
}

/// Logs in, and returns the access token.
///
/// # Panics
/// When that is refused.
#[must_use]
pub fn log_in(email: &str) -> String {
    let credentials = json!({ "strategy": "email", "email": email, "password": PASSWORD });
    let reply = Call::post("/v1/auth/login").json(credentials).send().expect(200);
    reply.json()["accessToken"].as_str().unwrap().to_owned()
}

/// Adds a product with this stock, and returns its id.
///
/// # Panics
/// When that is refused.
#[must_use]
pub fn new_product(stock: u32) -> String {
    new_product_at(stock, 1999, "EUR")
}

/// Adds a product with this stock and price, and returns its id.
///
/// # Panics
/// When that is refused.
#[must_use]
pub fn new_product_at(stock: u32, amount: u64, currency: &str) -> String {
    let product = json!({
        "sku": format!("TEST-{}", random()),
        "name": "Test lantern",
        "price": { "amount": amount, "currency": currency },
        "stock": stock,
    });
    let reply = Call::post("/v1/products").token(admin()).json(product).send().expect(201);
    reply.json()["id"].as_str().unwrap().to_owned()
}

/// Text that is new each time.
#[must_use]
pub fn random() -> String {
    shared::telemetry::hex(&shared::ambient::Ambient::system().bytes::<8>())
}

/// An idempotency key that is new each time.
#[must_use]
pub fn new_key() -> String {
    Uuid::from_bytes(shared::ambient::Ambient::system().bytes()).to_string()
}
