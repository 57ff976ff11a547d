//! The functions that no client calls: the authorizer, queue consumers and tasks.

use serde::Serialize;

use crate::{
    auth::{Callers, MacKey},
    consumer, function, lambda,
    lambda::Deployment,
    mail::Ses,
    queue::{EmailQueue, NotificationQueue, Queue, ReportQueue},
    store::{Mongodb, Mysql, Redis},
    task,
};

/// Decides for API Gateway whether a request may go on.
pub struct Authorizer;

function!(Authorizer = "authorizer" lambda::Authorizer { callers: Callers });

consumer! {
    /// Sends the mails of the email queue.
    OnEmail = "on-email" {
        queue: EmailQueue,
        batch_size: 10,
        concurrency: 4,
        needs: { mysql: Mysql, mongodb: Mongodb, redis: Redis, mac: MacKey, ses: Ses },
    }
}

consumer! {
    /// Keeps what users are told inside the application.
    OnNotification = "on-notification" {
        queue: NotificationQueue,
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
    /// Sends what was committed to an outbox and did not leave at once. Runs every minute.
    OutboxRelay = "outbox-relay" {
        event: serde::de::IgnoredAny,
        output: Relayed,
        needs: {
            mysql: Mysql,
            mongodb: Mongodb,
            email: Queue<EmailQueue>,
            notification: Queue<NotificationQueue>,
            report: Queue<ReportQueue>,
        },
    }
}

/// What one run of the relay did.
#[derive(Debug, Default, PartialEq, Eq, Serialize)]
pub struct Relayed {
    pub sent: usize,
    pub failed: usize,
}

task! {
    /// Brings the databases to the shape that this release expects. Runs at every deployment, before the functions that need it.
    Migrate = "migrate" {
        event: Deployment,
        output: Migrated,
        needs: { mysql: Mysql, mongodb: Mongodb },
    }
}

/// How many migrations and indexes are in place.
#[derive(Debug, Default, PartialEq, Eq, Serialize)]
pub struct Migrated {
    pub migrations: usize,
    pub indexes: usize,
}
