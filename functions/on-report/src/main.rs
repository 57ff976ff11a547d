//! Makes sales reports: reads the orders in chunks; decodes one and adds it up on all cores while the next one is read.
//!
//! A message that is delivered twice makes one report: its row says whether it is there, and who makes it.

use shared::{
    background::OnReport,
    error::chain,
    lambda::Delivery,
    messaging::Failure,
    report::{SalesReport, Sums, TooMuch},
    store::{
        Mysql, StoreError,
        mysql::reports::{self, Job, Started},
    },
};

shared::lambda!(OnReport, handle);

async fn handle(needs: Needs, delivery: Delivery<OnReport>) -> Result<(), Failure> {
    let (mysql, ambient) = (&needs.mysql, &delivery.ambient);
    let job = match reports::start(mysql, delivery.message.report_id, ambient.id(), ambient.now()).await? {
        Started::Yes(job) => job,
        Started::Over => return Ok(()),
        Started::InProgress => return Err(Failure::new("another delivery of this message is at work")),
    };
    let is_ours = match compute(mysql, &job).await {
        Ok(report) => job.finish(mysql, &serde_json::to_string(&report)?, ambient.now()).await?,
        Err(ComputeError::TooMuch(error)) => job.fail(mysql, &chain(&error), ambient.now()).await?,
        Err(error) => {
            job.release(mysql).await?;
            return Err(error.into());
        }
    };
    if !is_ours {
        tracing::warn!("somebody else makes the report by now");
    }
    Ok(())
}

/// Why there is no report.
#[derive(Debug, thiserror::Error)]
enum ComputeError {
    #[error(transparent)]
    TooMuch(#[from] TooMuch),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Interrupted(#[from] tokio::task::JoinError),
}

async fn compute(mysql: &Mysql, job: &Job) -> Result<SalesReport, ComputeError> {
    let mut orders = job.orders(mysql).await?;
    let (mut sums, mut next) = (Sums::default(), orders.next().await?);
    while let Some(rows) = next {
        // Off this thread, which reads on; rayon's threads are as many as there are cores.
        let adding = tokio::task::spawn_blocking(move || Ok::<_, ComputeError>(sums.plus(&rows.chunk()?)?));
        let (added, read) = tokio::join!(adding, orders.next());
        (sums, next) = (added??, read?);
    }
    Ok(sums.report()?)
}
