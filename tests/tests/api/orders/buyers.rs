//! Statuses of orders × accounts of buyers. Orders outlive their buyer: disabling or deleting an account changes none of its orders. Its
//! user is refused from then on; staff still has a way out of every status that is not final.
//!
//! The state machine is [`Status::next`]: a new status is tested without a change here.

use std::{collections::VecDeque, time::Duration};

use serde_json::{Value, json};
use shared::{ambient::Ambient, order::Status};
use tests::{
    Call, Reply, aws,
    function::Function,
    people,
    queue::{Queue, event},
};
use ureq::http::Method;

use super::{advance, cancel, cancel_with, events, get, new_order, staff, stock};

/// The units of a product that is on sale, and those of an order of it: see [`new_order`].
const UNITS: u64 = 5;
const ORDERED: u64 = 2;

/// The account of a buyer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Account {
    Active,
    Disabled,
    Deleted,
}

/// Staff moves an order on.
fn move_on(order: &str, to: Status) -> Reply {
    match to {
        Status::Cancelled => cancel_with(staff(), order, &json!({ "reason": "The buyer cannot be reached" })),
        to => advance(order, to.as_str()),
    }
}

/// The shortest way from a new order to this status.
fn way_to(status: Status) -> Vec<Status> {
    let mut ways = VecDeque::from([vec![Status::Pending]]);
    while let Some(way) = ways.pop_front() {
        let last = *way.last().unwrap();
        if last == status {
            return way[1..].to_vec();
        }
        ways.extend(last.next().iter().filter(|next| !way.contains(next)).map(|next| [&way[..], &[*next]].concat()));
    }
    panic!("no order comes to be {status:?}");
}

/// An order in some status, and the transition that staff is to make.
struct Case {
    order: String,
    product: String,
    status: Status,
    way_out: Option<Status>,
    /// Its JSON before its buyer's account changed.
    before: Value,
}

/// An order for each transition, and one for each final status.
fn cases(token: &str) -> Vec<Case> {
    let ways_out = |status: Status| match status.next() {
        [] => vec![(status, None)],
        next => next.iter().map(|next| (status, Some(*next))).collect(),
    };
    let case = |(status, way_out)| {
        let (order, product) = new_order(token);
        for step in way_to(status) {
            let _ = move_on(&order, step).expect(200);
        }
        let before = get(token, &order).expect(200).json();
        assert_eq!(before["status"], status.as_str());
        Case { order, product, status, way_out, before }
    };
    Status::ALL.iter().copied().flat_map(ways_out).map(case).collect()
}

/// The stock of an order's product while the order has this status.
fn stock_at(status: Status) -> u64 {
    if status.is_sold() { UNITS - ORDERED } else { UNITS }
}

fn change_account(id: &str, account: Account) {
    match account {
        Account::Active => {}
        Account::Disabled => {
            let _ = people::manage(people::admin(), id, &json!({ "disabled": true })).expect(200);
        }
        Account::Deleted => {
            let _ = Call::new(Method::DELETE, format!("/v1/users/{id}")).token(people::admin()).send().expect(204);
        }
    }
}

/// Enables or restores the account.
fn restore_account(id: &str, account: Account) {
    let _ = match account {
        Account::Active => return,
        Account::Disabled => people::manage(people::admin(), id, &json!({ "disabled": false })).expect(200),
        Account::Deleted => Call::post(format!("/v1/users/{id}/restore")).token(people::admin()).send().expect(200),
    };
}

fn orders_outlive(account: Account) {
    let email = people::register();
    let token = people::log_in(&email);
    let id = people::id_of(&token);
    let cases = cases(&token);
    change_account(&id, account);
    if account != Account::Active {
        people::wait_until_refused(&token);
    }
    for case in &cases {
        let Case { order, product, status, .. } = case;
        // The order is as it was, and its buyer is refused.
        if account != Account::Active {
            assert_eq!([get(&token, order).status, cancel(&token, order).status], [403, 403], "{status:?}");
        }
        assert_eq!(get(staff(), order).expect(200).json(), case.before, "{status:?}");
        assert_eq!(stock(product), stock_at(*status), "{status:?}");
    }
    for case in &cases {
        let Case { order, product, status, way_out: Some(next), .. } = case else { continue };
        assert_eq!(move_on(order, *next).expect(200).json()["status"], next.as_str(), "from {status:?}");
        assert_eq!(stock(product), stock_at(*next), "from {status:?} to {next:?}");
    }
    // Returns are staff's, and need no buyer.
    for case in cases.iter().filter(|case| case.way_out.unwrap_or(case.status) == Status::Delivered) {
        let call = Call::post(format!("/v1/orders/{}/return", case.order)).token(staff()).key(&people::new_key());
        assert_eq!(call.json(json!({})).send().expect(201).json()["items"][0]["returned"], ORDERED);
        assert_eq!(stock(&case.product), UNITS);
    }
    // An account that is enabled or restored has all of its orders.
    restore_account(&id, account);
    let token = people::log_in(&email);
    let page = Call::get("/v1/orders?limit=100").token(&token).send().expect(200).json();
    assert_eq!(page["items"].as_array().unwrap().len(), cases.len());
}

#[test]
fn from_every_status_an_order_comes_to_an_end() {
    for status in Status::ALL {
        let mut reached = vec![*status];
        let mut index = 0;
        while let Some(status) = reached.get(index).copied() {
            let new: Vec<Status> = status.next().iter().copied().filter(|next| !reached.contains(next)).collect();
            reached.extend(new);
            index += 1;
        }
        assert!(reached.iter().any(|reached| reached.next().is_empty()), "{status:?} leads only to {reached:?}");
        let _ = way_to(*status);
    }
}

#[test]
fn staff_has_a_way_out_of_every_status_of_an_active_buyers_order() {
    orders_outlive(Account::Active);
}

#[test]
fn orders_outlive_a_buyer_who_is_disabled() {
    orders_outlive(Account::Disabled);
}

#[test]
fn orders_outlive_a_buyer_who_is_deleted() {
    orders_outlive(Account::Deleted);
}

/// The consumers' own binaries, with queues of this test: a message that they cannot process would be in its dead-letter queue.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn events_of_orders_whose_buyer_is_gone_send_no_mail_and_are_no_dead_letters() {
    for account in [Account::Disabled, Account::Deleted] {
        let email = people::register();
        let token = people::log_in(&email);
        let id = people::id_of(&token);
        let (cancelled, _) = new_order(&token);
        let (returned, _) = new_order(&token);
        // Mails of the time before have arrived.
        let _ = (aws::wait_for_mail(&email, &cancelled), aws::wait_for_mail(&email, &returned));
        change_account(&id, account);
        people::wait_until_refused(&token);
        let _ = move_on(&cancelled, Status::Cancelled).expect(200);
        for step in way_to(Status::Delivered) {
            let _ = move_on(&returned, step).expect(200);
        }
        let call = Call::post(format!("/v1/orders/{returned}/return")).token(staff()).key(&people::new_key());
        let _ = call.json(json!({})).send().expect(201);

        let mut told: Vec<Value> = events(&cancelled).await;
        told.extend(events(&returned).await);
        let mut types: Vec<&str> = told.iter().map(|envelope| envelope["event"].as_str().unwrap()).collect();
        types.sort_unstable();
        types.dedup();
        assert_eq!(types, ["order-cancelled.v1", "order-placed.v1", "order-returned.v1", "order-status-changed.v1"]);
        for (consumer, queue_name) in [("on-email", "EMAIL"), ("on-notification", "NOTIFICATION")] {
            let (queue, dead) = Queue::new(1, 30);
            let url = |suffix: &str| format!("SOUK_{queue_name}_{suffix}QUEUE_URL");
            let variables = [(url(""), queue.url.clone()), (url("DEAD_LETTER_"), dead.url.clone())];
            let variables = variables.each_ref().map(|(name, value)| (name.as_str(), value.clone()));
            let function = Function::start(consumer, &variables);
            for envelope in &told {
                // A copy with an id of its own: the stage's consumer may be at work on the original.
                let mut envelope = envelope.clone();
                envelope["id"] = json!(Ambient::system().id());
                queue.send(&envelope.to_string());
            }
            queue
                .drain(Duration::from_mins(1), async |batch| {
                    let reply = function.invoke(&event(batch));
                    assert_eq!(reply["batchItemFailures"], json!([]), "{consumer}, {account:?}: {reply}");
                    reply
                })
                .await;
            assert_eq!(dead.depth(), 0, "{consumer}, {account:?}");
        }
        let mails = aws::mails(&email, &cancelled).len() + aws::mails(&email, &returned).len();
        assert_eq!(mails, 2, "{account:?}: those of the two orders, from the time before");
    }
}
