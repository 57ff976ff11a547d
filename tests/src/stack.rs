//! CloudFormation stacks on the stage's AWS.

use std::{
    thread,
    time::{Duration, Instant},
};

use shared::ambient::Ambient;

use crate::aws;

/// How long a change may take.
const TIMEOUT: Duration = Duration::from_mins(2);

/// A stack of this test run.
pub struct Stack {
    name: String,
}

impl Stack {
    /// A stack to be created.
    #[must_use]
    pub fn new(what: &str) -> Self {
        Self::named(&format!("{what}-{}", Ambient::system().id().simple()))
    }

    /// A stack that exists, or that something else creates.
    #[must_use]
    pub fn named(name: &str) -> Self {
        Self { name: name.to_owned() }
    }

    /// Starts its creation.
    ///
    /// # Errors
    /// CloudFormation's objection to the template or its parameters.
    pub fn create(&self, template: &str, parameters: &[(&str, &str)]) -> Result<String, String> {
        self.call("CreateStack", template, parameters)
    }

    /// Starts a change.
    ///
    /// # Errors
    /// As [`Stack::create`], and when there is nothing to change.
    pub fn update(&self, template: &str, parameters: &[(&str, &str)]) -> Result<String, String> {
        self.call("UpdateStack", template, parameters)
    }

    /// Starts its deletion.
    pub fn delete(&self) {
        let _ = aws::query_call("cloudformation", &[("Action", "DeleteStack"), ("StackName", &self.name)]);
    }

    fn call(&self, action: &str, template: &str, parameters: &[(&str, &str)]) -> Result<String, String> {
        let mut form = vec![
            ("Action".to_owned(), action.to_owned()),
            ("StackName".to_owned(), self.name.clone()),
            ("TemplateBody".to_owned(), template.to_owned()),
            ("Capabilities.member.1".to_owned(), "CAPABILITY_NAMED_IAM".to_owned()),
            ("Capabilities.member.2".to_owned(), "CAPABILITY_AUTO_EXPAND".to_owned()),
        ];
        for (index, (name, value)) in (1..).zip(parameters) {
            form.push((format!("Parameters.member.{index}.ParameterKey"), (*name).to_owned()));
            form.push((format!("Parameters.member.{index}.ParameterValue"), (*value).to_owned()));
        }
        let form: Vec<(&str, &str)> = form.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        aws::try_query_call("cloudformation", &form)
    }

    /// Waits for the end of the change, and returns the stack's status.
    ///
    /// # Panics
    /// When that takes too long.
    #[must_use]
    pub fn wait(&self) -> String {
        let start = Instant::now();
        loop {
            let described = [("Action", "DescribeStacks"), ("StackName", &self.name)];
            let Ok(reply) = aws::try_query_call("cloudformation", &described) else { return "gone".to_owned() };
            let status =
                reply.split("<StackStatus>").nth(1).and_then(|rest| rest.split('<').next()).unwrap_or_default();
            if !status.ends_with("_IN_PROGRESS") {
                return status.to_owned();
            }
            assert!(start.elapsed() < TIMEOUT, "{}: {status}", self.name);
            thread::sleep(Duration::from_millis(100));
        }
    }

    /// An output of the stack.
    ///
    /// # Panics
    /// When it has none of this name.
    #[must_use]
    pub fn output(&self, name: &str) -> String {
        let reply = aws::query_call("cloudformation", &[("Action", "DescribeStacks"), ("StackName", &self.name)]);
        let after = reply.split_once(&format!("<OutputKey>{name}</OutputKey>")).map(|(_, after)| after);
        let value = after.and_then(|after| after.split_once("<OutputValue>")?.1.split('<').next());
        value.unwrap_or_else(|| panic!("{}: no output {name} in {reply}", self.name)).to_owned()
    }

    /// The stack's events, as XML.
    #[must_use]
    pub fn events(&self) -> String {
        let events = [("Action", "DescribeStackEvents"), ("StackName", &self.name)];
        aws::try_query_call("cloudformation", &events).unwrap_or_default()
    }
}
