//! The functions that no client calls: the authorizer, queue consumers and tasks.

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

/// Decides for API Gateway whether a request may go on.
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
    /// Keeps what users are told inside the application.
    OnNotification = "on-notification" {
        queue: NotificationQueue,
        subscribes: [OrderPlaced, OrderStatusChanged, OrderCancelled, OrderReturned],
        batch_size: 10,
        needs: { mongodb: Mongodb },
    }
}

consumer! {
    /// Makes the reports that were asked for.
    OnReport = "on-report" {
        queue: ReportQueue,
        batch_size: 1,
        needs: { mysql: Mysql },
    }
}

task! {
    /// Sends what was committed to an outbox and did not leave at once. Runs every minute, and whenever an operator asks.
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

/// What the relay is invoked with. The schedule says nothing of this, and has it send what is due.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct RelayEvent {
    #[serde(default)]
    pub outbox: Option<OutboxCommand>,
}

/// What an operator asks of the outboxes; the relay is where the stores can be reached from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum OutboxCommand {
    /// Says what waits, and sends nothing.
    List,
    /// Makes all that waits due, or the message with this id, were it sent before; then sends what is due.
    Replay { id: Option<Uuid> },
}

/// What the relay returns.
#[derive(Debug, Serialize, Deserialize)]
#[serde(untagged)]
pub enum RelayOutput {
    Waiting { waiting: Vec<WaitingMessage> },
    Relayed(Relayed),
}

/// What one run of the relay did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Relayed {
    /// How many messages [`OutboxCommand::Replay`] made due.
    pub due: u64,
    pub sent: usize,
    pub failed: usize,
}

/// A message that was committed and not sent yet.
#[derive(Debug, Serialize, Deserialize)]
pub struct WaitingMessage {
    /// Which store has it.
    pub store: String,
    #[serde(flatten)]
    pub message: Waiting,
}

task! {
    /// Brings the databases to the shape that this release expects. Runs at every deployment, before the functions that need it.
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
