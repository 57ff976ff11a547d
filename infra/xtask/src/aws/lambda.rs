//! Lambda: new code for a deployed function, and direct calls.

use anyhow::Result;
use serde_json::{Value, json};
use ureq::http::Method;

use super::Aws;

/// Where zipped code is put for CloudFormation and Lambda to read.
pub const BUCKET: &str = "souk-artifacts";

impl Aws {
    pub fn create_bucket(&self) -> Result<()> {
        self.rest("s3", &Method::PUT, &format!("/{BUCKET}"), None).map(drop)
    }

    pub fn update_code(&self, function: &str, zip: Vec<u8>) -> Result<()> {
        let key = format!("patched/{function}.zip");
        let upload = self.request("s3", &Method::PUT, &format!("/{BUCKET}/{key}")).body(zip)?;
        self.send(upload)?;
        let path = format!("/2015-03-31/functions/{function}/code");
        self.rest("lambda", &Method::PUT, &path, Some(&json!({"S3Bucket": BUCKET, "S3Key": key}))).map(drop)
    }

    /// Calls a function and waits for what it returns, be that a reply or an error object.
    pub fn invoke(&self, function: &str, event: &Value) -> Result<Value> {
        let path = format!("/2015-03-31/functions/{function}/invocations");
        self.rest("lambda", &Method::POST, &path, Some(event))
    }

    pub fn functions(&self) -> Result<Vec<String>> {
        let reply = self.rest("lambda", &Method::GET, "/2015-03-31/functions/?MaxItems=1000", None)?;
        let functions = reply["Functions"].as_array().into_iter().flatten();
        Ok(functions.filter_map(|function| function["FunctionName"].as_str().map(str::to_owned)).collect())
    }
}
