//! The contract, in a form that compares with the template.

use std::collections::{BTreeMap, BTreeSet};

use shared::{
    background::{Authorizer, Migrate, OnEmail, OnNotification, OnReport, OutboxRelay},
    contract::{Access, AccessRule, Endpoint, Function, Needs, Target},
    lambda::ConsumerContract,
    messaging::QueueContract,
};

/// A function, as declared or as in the template.
#[derive(Debug, PartialEq, Eq)]
pub struct Declared {
    pub trigger: Trigger,
    pub environment: BTreeSet<String>,
    /// IAM action and resource, in the template's notation.
    pub grants: BTreeSet<(String, String)>,
    /// The template's condition for it.
    pub condition: Option<String>,
}

/// The event source of a function.
#[derive(Debug, PartialEq, Eq)]
pub enum Trigger {
    Http {
        method: String,
        path: String,
        is_public: bool,
    },
    /// A function URL, whose replies are streamed. It takes any method and path; the function checks them itself.
    FunctionUrl,
    Queue {
        name: String,
        batch_size: u64,
        /// The types of the events that the queue subscribes to.
        subscriptions: BTreeSet<String>,
    },
    Schedule,
    Authorizer,
    Deployment,
}

/// Every declared function by its name.
#[must_use]
pub fn declared() -> BTreeMap<String, Declared> {
    let mut functions = BTreeMap::new();
    macro_rules! endpoints {
        ($($endpoint:ty,)+) => { $(add::<$endpoint>(&mut functions, http::<$endpoint>());)+ };
    }
    shared::for_each_endpoint!(endpoints);
    add::<Authorizer>(&mut functions, Trigger::Authorizer);
    add::<Migrate>(&mut functions, Trigger::Deployment);
    add::<OutboxRelay>(&mut functions, Trigger::Schedule);
    add::<OnEmail>(&mut functions, queue::<OnEmail>());
    add::<OnNotification>(&mut functions, queue::<OnNotification>());
    add::<OnReport>(&mut functions, queue::<OnReport>());
    functions
}

fn add<F: Function>(functions: &mut BTreeMap<String, Declared>, trigger: Trigger) {
    let requirements = F::Needs::requirements();
    let environment =
        requirements.iter().flat_map(|needed| needed.environment).map(|name| (*name).to_owned()).collect();
    let grants = requirements
        .iter()
        .flat_map(|needed| needed.grants)
        .map(|grant| (grant.action.to_owned(), resource(grant.target)))
        .collect();
    let condition = F::NAME.starts_with("lab-").then(|| "HasLab".to_owned());
    functions.insert(F::NAME.to_owned(), Declared { trigger, environment, grants, condition });
}

fn http<E: Endpoint>() -> Trigger {
    if E::STREAMED {
        return Trigger::FunctionUrl;
    }
    Trigger::Http {
        method: E::METHOD.as_str().to_owned(),
        path: E::PATH.to_owned(),
        is_public: E::Access::ACCESS == Access::Public,
    }
}

fn queue<C: ConsumerContract>() -> Trigger {
    Trigger::Queue {
        name: <C::Queue as QueueContract>::NAME.to_owned(),
        batch_size: C::BATCH_SIZE.into(),
        subscriptions: C::SUBSCRIPTIONS.iter().map(|event| (*event).to_owned()).collect(),
    }
}

/// The ARN of a target, in the template's notation.
fn resource(target: Target) -> String {
    const ARN: &str = "!Sub arn:${AWS::Partition}";
    const ACCOUNT: &str = "${AWS::Region}:${AWS::AccountId}";
    match target {
        Target::Secret(name) => format!("{ARN}:secretsmanager:{ACCOUNT}:secret:souk/${{Stage}}/{name}-??????"),
        Target::Queue(name) => format!("!GetAtt {}Queue.Arn", pascal(name)),
        Target::DeadLetterQueue(name) => format!("!GetAtt {}DeadLetterQueue.Arn", pascal(name)),
        Target::Topic(name) => format!("!Ref {}Topic", pascal(name)),
        // To any address, from one: where the recipient's is an identity of the account, SES asks for the right to that one.
        Target::EmailIdentity => {
            let resources =
                ["identity/*", "configuration-set/souk-${Stage}"].map(|name| format!("{ARN}:ses:{ACCOUNT}:{name}"));
            format!("[{}] if ses:FromAddress StringEquals !Ref EmailAddress", resources.join(", "))
        }
    }
}

/// `orders-place` as `OrdersPlace`: the template's logical ids.
#[must_use]
pub fn pascal(name: &str) -> String {
    let capitalised = name.split('-').filter_map(|word| {
        let mut letters = word.chars();
        letters.next().map(|first| first.to_ascii_uppercase().to_string() + letters.as_str())
    });
    capitalised.collect()
}
