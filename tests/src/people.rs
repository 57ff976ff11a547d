//! Users to test with.

use std::{
    sync::LazyLock,
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use ureq::http::Method;
use uuid::Uuid;

use crate::{Call, Reply, aws};

/// The password of every user that the tests or the seed create.
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

/// The longest that a test with many requests takes.
const TIMING_MARGIN: Duration = Duration::from_secs(30);

/// An unused address.
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

/// The tokens of a logged-in user.
#[derive(Clone, Debug)]
pub struct LoggedIn {
    pub access_token: String,
    pub refresh_token: String,
}

impl LoggedIn {
    /// The tokens in the reply of a login or a refresh.
    ///
    /// # Panics
    /// When the reply is something else.
    #[must_use]
    pub fn of(reply: &Reply) -> Self {
        let text = |name: &str| reply.json()[name].as_str().unwrap_or_else(|| panic!("{reply:?}")).to_owned();
        Self { access_token: text("accessToken"), refresh_token: text("refreshToken") }
    }
}

/// Logs in, and returns the access token.
///
/// # Panics
/// When the login is refused.
#[must_use]
pub fn log_in(email: &str) -> String {
    begin_session(email).access_token
}

/// Logs in, and returns both tokens.
///
/// # Panics
/// When the login is refused.
#[must_use]
pub fn begin_session(email: &str) -> LoggedIn {
    LoggedIn::of(&try_log_in(email, PASSWORD).expect(200))
}

/// Tries to log in with a password.
#[must_use]
pub fn try_log_in(email: &str, password: &str) -> Reply {
    let credentials = json!({ "strategy": "email", "email": email, "password": password });
    Call::post("/v1/auth/login").json(credentials).send()
}

/// Exchanges a refresh token.
#[must_use]
pub fn refresh(token: &str) -> Reply {
    Call::post("/v1/auth/refresh").json(json!({ "refreshToken": token })).send()
}

/// The user id of an access token.
///
/// # Panics
/// When the token is refused.
#[must_use]
pub fn id_of(access_token: &str) -> String {
    let profile = Call::get("/v1/users/me").token(access_token).send().expect(200);
    profile.json()["id"].as_str().unwrap().to_owned()
}

/// Whether the authorizer accepts the token.
///
/// # Panics
/// When the status is neither.
#[must_use]
pub fn is_let_in(access_token: &str) -> bool {
    match Call::get("/v1/users/me").token(access_token).send().status {
        200 => true,
        403 => false,
        status => panic!("status {status}"),
    }
}

/// Waits until the authorizer refuses the token.
///
/// # Panics
/// When that takes longer than the promised two seconds.
pub fn wait_until_refused(access_token: &str) {
    let start = Instant::now();
    while is_let_in(access_token) {
        assert!(start.elapsed() < Duration::from_secs(2), "the token is still good after two seconds");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// An admin changes a user, in its current version.
///
/// # Panics
/// When there is no such user.
#[must_use]
pub fn manage(admin: &str, id: &str, changes: &Value) -> Reply {
    let path = format!("/v1/users/{id}");
    let tag = Call::get(&path).token(admin).send().expect(200).header("etag").unwrap().to_owned();
    Call::new(Method::PATCH, path).token(admin).header("if-match", tag).json(changes).send()
}

/// Registers a user with these roles, and returns the address.
///
/// # Panics
/// When that is refused.
#[must_use]
pub fn register_with_roles(roles: &Value) -> String {
    let email = register();
    let id = id_of(&log_in(&email));
    let _ = manage(admin(), &id, &json!({ "roles": roles })).expect(200);
    email
}

/// Rate limits have fixed windows. Waits for the next one if this one is nearly over, so that a test's requests fall
/// into one window.
pub fn wait_for_room(window: Duration) {
    let (window, now) = (window.as_secs(), crate::tokens::now().unsigned_abs());
    let left = Duration::from_secs(window - now % window);
    if left < TIMING_MARGIN {
        std::thread::sleep(left);
    }
}

/// The code in a mail to this address, after this phrase.
///
/// # Panics
/// When no such mail arrives.
#[must_use]
pub fn mailed_code(email: &str, phrase: &str) -> String {
    let mail = aws::wait_for_mail(email, phrase);
    mail.lines().find_map(|line| line.strip_prefix(phrase)?.strip_prefix(": ")).unwrap().to_owned()
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

/// Random text.
#[must_use]
pub fn random() -> String {
    shared::telemetry::hex(&shared::ambient::Ambient::system().bytes::<8>())
}

/// A random idempotency key.
#[must_use]
pub fn new_key() -> String {
    Uuid::from_bytes(shared::ambient::Ambient::system().bytes()).to_string()
}
