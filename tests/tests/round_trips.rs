//! Round trips, counted on the connections: how much is ordered does not change them.
//!
//! Latency in AWS is round trips times the network. The functions are the real binaries, and warm: connected, with prepared statements.

use std::sync::LazyLock;

use serde_json::Value;
use shared::{ambient::Ambient, environment};
use tests::{
    Stage,
    function::Function,
    mysql_wire::{Command, MysqlProxy},
    people,
    proxy::{Cut, Proxy},
    requests,
};
use uuid::Uuid;

/// The most lines of an order.
const MAX_LINES: usize = 50;
/// The most statements before the reply to an order, or to a cancellation.
const BOUND: usize = 9;
/// How often a request is measured whose publishing took longer than it may: the relay has that event.
const MAX_ATTEMPTS: u32 = 5;

/// As many products as an order has lines at most.
static PRODUCTS: LazyLock<Vec<String>> = LazyLock::new(|| (0..MAX_LINES).map(|_| people::new_product(1000)).collect());

/// A function whose round trips are counted.
struct CountedFunction {
    name: &'static str,
    function: Function,
    mysql: MysqlProxy,
    redis: Proxy,
    sns: Proxy,
}

/// What one request sent.
#[derive(Debug)]
struct Trips {
    /// Statements, the COMMIT among them.
    before_reply: Vec<String>,
    after_reply: Vec<String>,
    redis: usize,
    sns: usize,
}

impl CountedFunction {
    fn start(name: &'static str) -> Self {
        let mysql = MysqlProxy::start();
        let (redis, redis_endpoint) = Proxy::before(&environment::required("SOUK_REDIS_ENDPOINT").unwrap());
        let (sns, sns_endpoint) = Proxy::before(&Stage::get().aws_endpoint);
        let variables = [
            ("SOUK_MYSQL_ENDPOINT", mysql.endpoint.clone()),
            ("SOUK_REDIS_ENDPOINT", redis_endpoint),
            ("AWS_ENDPOINT_URL_SNS", sns_endpoint),
        ];
        Self { name, function: Function::start(name, &variables), mysql, redis, sns }
    }

    /// Counts the round trips of a request that has an event: made several times, each with an effect of its own.
    fn publishing(&self, lines: usize, mut request: impl FnMut() -> Value) -> Trips {
        let _ = self.send(&request());
        let mut tries = (0..MAX_ATTEMPTS).map(|_| self.send(&request()));
        let sent = tries.find(|sent| sent.statements().last().is_some_and(|last| is_mark(last)));
        drop(tries);
        self.trips(lines, &sent.expect("the event is published in time"), &request())
    }

    /// Counts the round trips of a request that has no event.
    fn silent(&self, lines: usize, mut request: impl FnMut() -> Value) -> Trips {
        let _ = self.send(&request());
        let sent = self.send(&request());
        self.trips(lines, &sent, &request())
    }

    /// Tells apart what is before the reply and what after it: for another such request, nothing is after it, since SNS does not
    /// answer until the reply is there.
    fn trips(&self, lines: usize, sent: &Sent, another: &Value) -> Trips {
        self.mysql.clear();
        let _held = self.sns.cut(0, Cut::BeforeRequest);
        let reply = self.function.invoke(another);
        let before_reply = Sent { commands: self.mysql.commands(), redis: 0, sns: 0 }.statements();
        self.sns.mend();
        assert!(is_good(&reply), "{reply}");
        self.function.wait_until_idle();
        self.mysql.wait_until_released();

        let prepared = sent.commands.iter().any(|command| matches!(command, Command::Prepare(_)));
        assert!(!prepared, "all is prepared by now: {:?}", sent.commands);
        assert_eq!(self.mysql.connections(), 1, "all of it is one connection's");
        let mut statements = sent.statements();
        let after_reply = statements.split_off(before_reply.len());
        assert_eq!(before_reply, statements, "the same request sends the same statements");
        let trips = Trips { before_reply, after_reply, redis: sent.redis, sns: sent.sns };
        let (before, after) = (trips.before_reply.len(), trips.after_reply.len());
        println!(
            "{:<16} {lines:>2} lines: {before:>2} statements before the reply, {after} after it; Redis {}, SNS {}",
            self.name, trips.redis, trips.sns
        );
        trips
    }

    /// Sends a request, and waits until all is done that follows its reply.
    fn send(&self, request: &Value) -> Sent {
        self.mysql.clear();
        let (redis, sns) = (self.redis.exchanges(), self.sns.exchanges());
        let reply = self.function.invoke(request);
        assert!(is_good(&reply), "{reply}");
        self.function.wait_until_idle();
        self.mysql.wait_until_released();
        let (redis, sns) = (self.redis.exchanges() - redis, self.sns.exchanges() - sns);
        Sent { commands: self.mysql.commands(), redis, sns }
    }
}

/// What left a function for one request.
struct Sent {
    commands: Vec<Command>,
    redis: usize,
    sns: usize,
}

impl Sent {
    fn statements(&self) -> Vec<String> {
        self.commands.iter().filter_map(Command::statement).map(str::to_owned).collect()
    }
}

impl Trips {
    /// One transaction and nothing beside it, then one call of SNS and one statement that marks the event as sent.
    fn expect_one_transaction_and_one_event(&self) {
        self.expect_one_transaction();
        assert!(matches!(&self.after_reply[..], [mark] if is_mark(mark)), "{self:?}");
        assert_eq!(self.sns, 1, "{self:?}");
    }

    fn expect_one_transaction(&self) {
        let [begin, inner @ .., commit] = &self.before_reply[..] else { panic!("{self:?}") };
        assert_eq!((begin.as_str(), commit.as_str()), ("BEGIN", "COMMIT"), "{self:?}");
        let changes =
            |statement: &String| ["SELECT ", "INSERT ", "UPDATE "].iter().any(|verb| statement.starts_with(verb));
        assert!(inner.iter().all(changes), "{self:?}");
    }
}

fn is_good(reply: &Value) -> bool {
    matches!(reply["statusCode"].as_u64(), Some(200 | 201))
}

fn is_mark(statement: &str) -> bool {
    statement.starts_with("UPDATE outbox SET ")
}

/// Orders to work on, and the functions that get them there; these are not counted.
struct Orders {
    buyer: Uuid,
    placing: Function,
    advancing: Function,
}

impl Orders {
    fn new() -> Self {
        // An unknown id: nothing is mailed.
        let buyer = Ambient::system().id();
        let [placing, advancing] = ["orders-place", "orders-status"].map(|name| Function::start(name, &[]));
        Self { buyer, placing, advancing }
    }

    /// A pending order.
    fn placed(&self, lines: usize) -> String {
        let reply = self.placing.invoke(&requests::place(self.buyer, &PRODUCTS[..lines], 1));
        assert_eq!(reply["statusCode"], 201, "{reply}");
        requests::id(&reply)
    }

    fn delivered(&self, lines: usize) -> String {
        let order = self.placed(lines);
        for status in ["confirmed", "shipped", "delivered"] {
            let reply = self.advancing.invoke(&requests::advance(&order, status));
            assert_eq!(reply["statusCode"], 200, "{reply}");
        }
        order
    }
}

#[test]
fn an_order_of_fifty_lines_takes_as_many_round_trips_as_one_of_a_single_line() {
    let buyer = Ambient::system().id();
    let place = CountedFunction::start("orders-place");
    let [one, fifty] =
        [1, MAX_LINES].map(|lines| place.publishing(lines, || requests::place(buyer, &PRODUCTS[..lines], 1)));
    for trips in [&one, &fifty] {
        trips.expect_one_transaction_and_one_event();
        assert!(trips.before_reply.len() <= BOUND, "{trips:?}");
        assert_eq!(trips.redis, 1, "all products are invalidated at once: {trips:?}");
    }
    assert_eq!(one.before_reply.len(), fifty.before_reply.len());
}

#[test]
fn a_repeated_order_takes_four_statements_and_publishes_nothing() {
    let place = CountedFunction::start("orders-place");
    let request = requests::place(Ambient::system().id(), &PRODUCTS[..1], 1);
    let first = place.function.invoke(&request);
    assert!(is_good(&first), "{first}");
    place.function.wait_until_idle();
    let trips = place.silent(1, || request.clone());
    // The rollback may be before the reply or after it.
    assert!(trips.before_reply.len() + trips.after_reply.len() <= 4, "{trips:?}");
    assert!(!trips.before_reply.iter().any(|statement| statement == "COMMIT"), "{trips:?}");
    assert_eq!((trips.redis, trips.sns), (0, 0), "{trips:?}");
}

#[test]
fn a_cancellation_of_fifty_lines_takes_as_many_round_trips_as_one_of_a_single_line() {
    let (cancel, orders) = (CountedFunction::start("orders-cancel"), Orders::new());
    let [one, fifty] =
        [1, MAX_LINES].map(|lines| cancel.publishing(lines, || requests::cancel(orders.buyer, &orders.placed(lines))));
    for trips in [&one, &fifty] {
        trips.expect_one_transaction_and_one_event();
        assert!(trips.before_reply.len() <= BOUND, "{trips:?}");
        assert_eq!(trips.redis, 1, "{trips:?}");
    }
    assert_eq!(one.before_reply.len(), fifty.before_reply.len());
}

#[test]
fn a_return_of_fifty_lines_takes_as_many_round_trips_as_one_of_a_single_line() {
    let (take_back, orders) = (CountedFunction::start("orders-return"), Orders::new());
    let [one, fifty] =
        [1, MAX_LINES].map(|lines| take_back.publishing(lines, || requests::take_back(&orders.delivered(lines))));
    for trips in [&one, &fifty] {
        trips.expect_one_transaction_and_one_event();
        assert_eq!((trips.before_reply.len(), trips.redis), (11, 1), "{trips:?}");
    }
}

#[test]
fn a_status_takes_six_statements_whatever_the_order_is() {
    let (advance, orders) = (CountedFunction::start("orders-status"), Orders::new());
    for lines in [1, MAX_LINES] {
        let trips = advance.publishing(lines, || requests::advance(&orders.placed(lines), "confirmed"));
        trips.expect_one_transaction_and_one_event();
        assert_eq!((trips.before_reply.len(), trips.redis), (6, 0), "{trips:?}");
    }
}

#[test]
fn an_adjustment_of_the_stock_takes_seven_statements_and_publishes_nothing() {
    let restock = CountedFunction::start("products-stock");
    let trips = restock.silent(1, || requests::restock(&PRODUCTS[0], 3));
    trips.expect_one_transaction();
    assert_eq!(trips.before_reply.len(), 7, "{trips:?}");
    assert_eq!((trips.after_reply.len(), trips.redis, trips.sns), (0, 1, 0), "{trips:?}");
}
