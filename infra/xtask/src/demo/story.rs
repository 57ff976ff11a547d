//! The story, chapter by chapter.

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use super::client::{Api, Call, Reply};
use super::identity::Identity;
use super::mailbox;
use crate::aws::Aws;
use crate::files;
use crate::progress::say;
use crate::seed::SEEDED_PASSWORD;
use crate::stack_deploy::function_name;

const STOCK: u64 = 5;
const ORDERED: u64 = 2;

pub struct Story<'a> {
    api: &'a Api,
    aws: &'a Aws,
    /// Makes the address and the SKU new, so that the story can be told again.
    run: String,
}

impl<'a> Story<'a> {
    pub fn new(api: &'a Api, aws: &'a Aws) -> Result<Self> {
        let run = files::random_secret()?[..8].to_owned();
        Ok(Self { api, aws, run })
    }

    pub fn tell(&self) -> Result<()> {
        let email = format!("demo-{}@souk.example", self.run);
        chapter("the stage answers, and a stranger is kept out", || self.stranger())?;
        chapter("a customer registers, and a verification mail arrives", || self.register(&email))?;
        let identity = Identity { api: self.api, aws: self.aws, email: &email };
        chapter("the code from the mail verifies her address", || identity.verify())?;
        let tokens = chapter("she logs in with a code from a mail, which works once", || identity.log_in_by_mail())?;
        let tokens =
            chapter("two tabs refresh at once: one successor, and the session goes on", || identity.refresh(&tokens))?;
        chapter("she logs out everywhere: her tokens are refused at once", || identity.log_out_everywhere(&tokens))?;
        let customer = chapter("she logs in with her password", || self.log_in(&email, &self.password()))?;
        chapter("she reads her own profile", || self.profile(&email, &customer))?;
        chapter("she may not create products: the authorizer says so, and so does the function", || {
            self.not_allowed(&customer)
        })?;
        let admin = chapter("an admin logs in", || self.log_in("admin@souk.example", SEEDED_PASSWORD))?;
        let product = chapter("the admin creates a product", || self.create_product(&admin))?;
        chapter("it is read twice: from the store, then from the cache", || self.read_twice(&product))?;
        let order = chapter("she orders it, and the stock falls", || self.order(&customer, &product))?;
        chapter("the same request again: the same reply, nothing ordered twice", || {
            self.repeat(&customer, &product, &order)
        })?;
        chapter("more than there is: refused, and nothing changed", || self.too_many(&customer, &product))?;
        chapter("the confirmation has gone outbox → SQS → on-email → SES", || self.confirmation(&email, &order))
    }

    fn password(&self) -> String {
        format!("demo-password-{}", self.run)
    }

    fn stranger(&self) -> Result<()> {
        self.api.get("/health", None)?.expect(200)?;
        self.api.get("/v1/users/me", None)?.expect(401).map(drop)
    }

    fn register(&self, email: &str) -> Result<()> {
        let body = json!({"email": email, "password": self.password()});
        self.api.post("/v1/auth/register", Call { body: Some(body), ..Call::default() })?.expect(202)?;
        mailbox::wait_for(self.aws, email, "Verify your e-mail").map(drop)
    }

    /// Returns the access token.
    fn log_in(&self, email: &str, password: &str) -> Result<String> {
        let body = json!({"strategy": "email", "email": email, "password": password});
        let reply = self.api.post("/v1/auth/login", Call { body: Some(body), ..Call::default() })?.expect(200)?;
        reply.expect_field("/tokenType", &json!("Bearer"))?;
        reply.string("accessToken")
    }

    fn profile(&self, email: &str, token: &str) -> Result<()> {
        let reply = self.api.get("/v1/users/me", Some(token))?.expect(200)?;
        reply.expect_field("/email", &json!(email))?;
        reply.expect_field("/roles", &json!(["customer"]))
    }

    fn not_allowed(&self, token: &str) -> Result<()> {
        let call = Call { token: Some(token), body: Some(self.new_product()), ..Call::default() };
        self.api.post("/v1/products", call)?.expect(403)?;
        let event = direct_event("POST", "/v1/products", &self.new_product());
        say!("  → invoke products-create directly, past the gateway");
        let reply = self.aws.invoke(&function_name("products-create"), &event)?;
        say!("  ← {}", reply["statusCode"]);
        ensure!(reply["statusCode"] == 401, "expected the function itself to answer 401, saw {reply}");
        Ok(())
    }

    fn new_product(&self) -> Value {
        json!({
            "sku": format!("DEMO-{}", self.run.to_uppercase()),
            "name": "Brass lantern",
            "description": "Hand-hammered, for the demonstration",
            "price": {"amount": 4_900, "currency": "EUR"},
            "stock": STOCK,
        })
    }

    /// Returns the product's id.
    fn create_product(&self, token: &str) -> Result<String> {
        let call = Call { token: Some(token), body: Some(self.new_product()), ..Call::default() };
        let reply = self.api.post("/v1/products", call)?.expect(201)?;
        reply.expect_field("/stock", &json!(STOCK))?;
        reply.string("id")
    }

    fn read(&self, product: &str) -> Result<Reply> {
        self.api.get(&format!("/v1/products/{product}"), None)?.expect(200)
    }

    fn read_twice(&self, product: &str) -> Result<()> {
        let first = self.read(product)?;
        first.expect_header("x-cache", "miss")?;
        let second = self.read(product)?;
        second.expect_header("x-cache", "hit")?;
        ensure!(first.text == second.text, "expected the cache to say what the store says, saw {}", second.text);
        Ok(())
    }

    fn place(&self, token: &str, key: &str, product: &str, quantity: u64) -> Result<Reply> {
        let body = json!({"lines": [{"productId": product, "quantity": quantity}]});
        self.api.post("/v1/orders", Call { token: Some(token), idempotency_key: Some(key), body: Some(body) })
    }

    /// Returns the reply, for comparison with the replayed one.
    fn order(&self, token: &str, product: &str) -> Result<Reply> {
        let reply = self.place(token, &self.run, product, ORDERED)?.expect(201)?;
        reply.expect_field("/status", &json!("pending"))?;
        self.expect_stock(product, STOCK - ORDERED)?;
        Ok(reply)
    }

    fn expect_stock(&self, product: &str, stock: u64) -> Result<()> {
        self.read(product)?.expect_field("/stock", &json!(stock))?;
        say!("    stock: {stock}");
        Ok(())
    }

    fn repeat(&self, token: &str, product: &str, order: &Reply) -> Result<()> {
        let reply = self.place(token, &self.run, product, ORDERED)?.expect(order.status)?;
        reply.expect_header("idempotent-replayed", "true")?;
        ensure!(reply.text == order.text, "expected the same bytes as before, saw {}", reply.text);
        self.expect_stock(product, STOCK - ORDERED)
    }

    fn too_many(&self, token: &str, product: &str) -> Result<()> {
        let reply = self.place(token, &format!("{}-more", self.run), product, STOCK)?.expect(409)?;
        reply.expect_header("content-type", "application/problem+json")?;
        self.expect_stock(product, STOCK - ORDERED)
    }

    fn confirmation(&self, email: &str, order: &Reply) -> Result<()> {
        let mail = mailbox::wait_for(self.aws, email, &order.string("id")?)?;
        for line in mail.body.lines().filter(|line| !line.is_empty()) {
            say!("    {line}");
        }
        Ok(())
    }
}

/// Prints a chapter's title and outcome.
fn chapter<T>(title: &str, happens: impl FnOnce() -> Result<T>) -> Result<T> {
    say!("\n{title}");
    let outcome = happens();
    say!("  {}", if outcome.is_ok() { "✓" } else { "✗" });
    outcome.with_context(|| format!("surprise in “{title}”"))
}

/// An event as the gateway sends it, without the authorizer's context.
fn direct_event(method: &str, path: &str, body: &Value) -> Value {
    json!({
        "version": "2.0",
        "routeKey": format!("{method} {path}"),
        "rawPath": path,
        "rawQueryString": "",
        "headers": {"content-type": "application/json"},
        "requestContext": {
            "accountId": "000000000000",
            "apiId": "direct",
            "domainName": "direct",
            "domainPrefix": "direct",
            "http": {"method": method, "path": path, "protocol": "HTTP/1.1", "sourceIp": "127.0.0.1", "userAgent": "demo"},
            "requestId": "direct",
            "routeKey": format!("{method} {path}"),
            "stage": "$default",
            "time": "01/Jan/2026:00:00:00 +0000",
            "timeEpoch": 1_767_225_600_000_u64,
        },
        "body": body.to_string(),
        "isBase64Encoded": false,
    })
}
