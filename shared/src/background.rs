//! The functions without a client: the authorizer, queue consumers and tasks.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{
    auth::Authenticator,
    consumer, function,
    lambda::{self, Deployment},
    mac::MacKey,
    mail::{EmailQueue, Ses},
    messaging::{Queue, Topic},
    notification::NotificationQueue,
    order::{OrderCancelled, OrderPlaced, OrderReturned, OrderStatusChanged},
    report::ReportQueue,
    store::{Mongodb, Mysql, MysqlAdmin, Redis, outbox::Waiting},
    task,
};

/// Authorises requests for API Gateway.
pub struct Authorizer;

function!(Authorizer = "authorizer" lambda::Authorizer { authenticator: Authenticator });

consumer! {
    /// Sends the mails of the email queue.
    OnEmail = "on-email" {
        queue: EmailQueue,
        subscribes: [OrderPlaced, OrderCancelled, OrderReturned],
        batch_size: 10,
        concurrency: 4,
        needs: { mysql: Mysql, mongodb: Mongodb, redis: Redis, mac: MacKey, ses: Ses },
    }
}

consumer! {
    /// Stores the notifications of the notification queue.
    OnNotification = "on-notification" {
        queue: NotificationQueue,
        subscribes: [OrderPlaced, OrderStatusChanged, OrderCancelled, OrderReturned],
        batch_size: 10,
        needs: { mongodb: Mongodb },
    }
}

consumer! {
    /// Computes the reports of the report queue.
    OnReport = "on-report" {
        queue: ReportQueue,
        batch_size: 1,
        needs: { mysql: Mysql },
    }
}

task! {
    /// Transactional outbox: sends committed messages that are not sent yet. Runs every minute, and on an operator's
    /// demand.
    OutboxRelay = "outbox-relay" {
        event: RelayEvent,
        output: RelayOutput,
        needs: {
            mysql: Mysql,
            mongodb: Mongodb,
            events: Topic,
            email: Queue<EmailQueue>,
            notification: Queue<NotificationQueue>,
            report: Queue<ReportQueue>,
        },
    }
}

/// The relay's event. The schedule's event has no command; the relay then sends what is due.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct RelayEvent {
    #[serde(default)]
    pub outbox: Option<OutboxCommand>,
}

/// An operator's command to the outboxes; the relay is the function that reaches both stores.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum OutboxCommand {
    /// Lists unsent messages, and sends nothing.
    List,
    /// Makes all unsent messages due, or the message with this id even if it was sent before; then sends what is due.
    Replay { id: Option<Uuid> },
}

/// The relay's output.
#[derive(Debug, Serialize, Deserialize)]
#[serde(untagged)]
pub enum RelayOutput {
    Waiting { waiting: Vec<WaitingMessage> },
    Relayed(Relayed),
}

/// The result of one run of the relay.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Relayed {
    /// How many messages [`OutboxCommand::Replay`] made due.
    pub due: u64,
    pub sent: usize,
    pub failed: usize,
}

/// A committed message that is not sent yet.
#[derive(Debug, Serialize, Deserialize)]
pub struct WaitingMessage {
    /// The store of the message.
    pub store: String,
    #[serde(flatten)]
    pub message: Waiting,
}

task! {
    /// Migrates the databases to the schema of this release. Runs at every deployment, before the functions that need
    /// it.
    Migrate = "migrate" {
        event: Deployment,
        output: Migrated,
        needs: { mysql: MysqlAdmin, mongodb: Mongodb },
    }
}

/// How many migrations and indexes are in place.
#[derive(Debug, Default, PartialEq, Eq, Serialize)]
pub struct Migrated {
    pub migrations: usize,
    pub indexes: usize,
}
