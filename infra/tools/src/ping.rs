//! `tools ping`: whether every store accepts our credentials, before a deployment needs them.

use anyhow::{Result, bail};
use shared::{
    contract::{Resource, ResourceContext},
    error::chain,
    store::{Mongodb, Mysql, Redis, StoreError},
};

pub async fn run() -> Result<()> {
    let context = ResourceContext::system();
    let (mysql, mongodb, redis) = (Mysql::open(&context)?, Mongodb::open(&context)?, <Redis>::open(&context)?);
    let answers = tokio::join!(mysql.ping(), mongodb.ping(), redis.ping());
    let problems: Vec<String> = [answers.0, answers.1, answers.2].into_iter().filter_map(problem).collect();
    if problems.is_empty() { Ok(()) } else { bail!("{}", problems.join("\n")) }
}

fn problem(answer: Result<(), StoreError>) -> Option<String> {
    answer.err().map(|error| chain(&error))
}
