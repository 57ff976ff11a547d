//! `template.yaml`, read strictly: anything that this module cannot compare is refused.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

use serde_yaml_ng::{Mapping, Value};

use crate::declared::{Declared, Trigger, pascal};

/// A difference between template and contract, or something unreadable.
pub type Drift = String;

/// The template.
pub struct Template {
    root: Value,
}

/// A function of the template, with the drift of the properties that follow from its name.
pub struct TemplateFunction {
    pub declared: Declared,
    pub timeout: u64,
    /// What the mapping `Sizes` calls its number of environments.
    pub concurrency: String,
    /// Whether new code gets its requests little by little.
    pub is_gradual: bool,
    pub drift: Vec<Drift>,
}

/// The checkout's directory.
#[must_use]
pub fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().map(Path::to_path_buf).unwrap_or_default()
}

impl Template {
    /// Reads the repository's template.
    ///
    /// # Panics
    /// When it is missing or not YAML.
    #[must_use]
    pub fn read() -> Self {
        Self::read_from("template.yaml")
    }

    /// Reads one of the repository's templates.
    ///
    /// # Panics
    /// When it is missing or not YAML.
    #[must_use]
    pub fn read_from(path: &str) -> Self {
        Self::parse(&fs::read_to_string(repository().join(path)).unwrap())
    }

    /// Reads a template.
    ///
    /// # Panics
    /// When it is not YAML.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        Self { root: serde_yaml_ng::from_str(text).unwrap() }
    }

    /// The environment variables of every function.
    #[must_use]
    pub fn common_environment(&self) -> BTreeSet<String> {
        keys(&self.root["Globals"]["Function"]["Environment"]["Variables"])
    }

    /// The default of a parameter.
    #[must_use]
    pub fn default_of(&self, parameter: &str) -> String {
        text(&self.root["Parameters"][parameter]["Default"])
    }

    /// A condition, in the template's notation.
    #[must_use]
    pub fn condition(&self, name: &str) -> String {
        text(&self.root["Conditions"][name])
    }

    /// A property of every function.
    #[must_use]
    pub fn global(&self, name: &str) -> String {
        text(&self.root["Globals"]["Function"][name])
    }

    /// Every function by its name, which is its directory.
    ///
    /// # Errors
    /// What is unreadable.
    pub fn functions(&self) -> Result<BTreeMap<String, TemplateFunction>, Drift> {
        let mut functions = BTreeMap::new();
        for (id, resource) in self.resources("AWS::Serverless::Function") {
            let name = text(&resource["Properties"]["CodeUri"]);
            let name = name.strip_prefix("target/lambda/").and_then(|name| name.strip_suffix('/'));
            let name = name.ok_or_else(|| format!("{id}: CodeUri is not target/lambda/NAME/"))?;
            let function = self.function(id, name, resource).map_err(|drift| format!("{id}: {drift}"))?;
            functions.insert(name.to_owned(), function);
        }
        Ok(functions)
    }

    /// The properties of a queue, under the logical id and the name that follow from its own.
    ///
    /// # Errors
    /// What is missing or unreadable.
    pub fn queue(&self, name: &str) -> Result<&Value, Drift> {
        self.queue_called(&format!("{}Queue", pascal(name)), name)
    }

    /// Checks a queue's dead-letter queue, and its redrive policy.
    ///
    /// # Errors
    /// What is missing or unreadable.
    pub fn dead_letter_queue(&self, name: &str, queue: &Value) -> Result<(), Drift> {
        let id = format!("{}DeadLetterQueue", pascal(name));
        self.queue_called(&id, &format!("{name}-dlq"))?;
        let target = text(&queue["RedrivePolicy"]["deadLetterTargetArn"]);
        expect("deadLetterTargetArn", &target, &format!("!GetAtt {id}.Arn"))
    }

    /// Every alarm on a single metric by its logical id: its metric and its threshold.
    ///
    /// # Errors
    /// What is unreadable.
    pub fn alarms(&self) -> Result<BTreeMap<String, Alarm>, Drift> {
        let computed = self.computed_alarms();
        self.resources("AWS::CloudWatch::Alarm")
            .filter(|(id, _)| !computed.contains_key(id))
            .map(|(id, resource)| {
                let alarm = alarm(resource).map_err(|drift| format!("{id}: {drift}"))?;
                Ok((id.to_owned(), alarm))
            })
            .collect()
    }

    /// The alarms that compute with metrics, each with what it tells.
    #[must_use]
    pub fn computed_alarms(&self) -> BTreeMap<&str, String> {
        let alarms = self.resources("AWS::CloudWatch::Alarm");
        let computed = alarms.filter(|(_, alarm)| alarm["Properties"].get("Metrics").is_some());
        computed.map(|(id, alarm)| (id, text(&alarm["Properties"]["AlarmActions"]))).collect()
    }

    /// The parameters that name a parameter of SSM, each with the name that it has on the local stage.
    #[must_use]
    pub fn handed_over(&self) -> BTreeMap<String, String> {
        let parameters = self.root["Parameters"].as_mapping().into_iter().flatten();
        let named = parameters.filter(|(_, parameter)| parameter["Type"] == "AWS::SSM::Parameter::Value<String>");
        named.map(|(name, parameter)| (text(name), text(&parameter["Default"]))).collect()
    }

    /// How many environments a function may have in a deployment of this size.
    ///
    /// # Panics
    /// When the template does not say.
    #[must_use]
    pub fn environments(&self, function: &TemplateFunction, size: &str) -> u64 {
        self.mapped("Sizes", size, &function.concurrency)
    }

    fn queue_called(&self, id: &str, name: &str) -> Result<&Value, Drift> {
        let queue = self.resources("AWS::SQS::Queue").find(|(found, _)| *found == id);
        let (_, queue) = queue.ok_or_else(|| format!("there is no queue {id}"))?;
        let properties = &queue["Properties"];
        expect("QueueName", &text(&properties["QueueName"]), &format!("!Sub souk-${{Stage}}-{name}"))?;
        Ok(properties)
    }

    /// The value of a mapping.
    ///
    /// # Panics
    /// When it is missing or not a number.
    #[must_use]
    pub fn mapped(&self, mapping: &str, key: &str, name: &str) -> u64 {
        let value = self.root["Mappings"][mapping][key][name].as_u64();
        value.unwrap_or_else(|| panic!("no number {name} in {mapping} for {key}"))
    }

    /// Every text anywhere in the template, without its tag.
    #[must_use]
    pub fn texts(&self) -> Vec<&str> {
        fn collect<'a>(value: &'a Value, found: &mut Vec<&'a str>) {
            match value {
                Value::String(text) => found.push(text),
                Value::Sequence(values) => values.iter().for_each(|value| collect(value, found)),
                Value::Mapping(members) => members.values().for_each(|value| collect(value, found)),
                Value::Tagged(tagged) => collect(&tagged.value, found),
                _ => {}
            }
        }
        let mut found = Vec::new();
        collect(&self.root, &mut found);
        found
    }

    /// Every resource of a type, by its logical id.
    pub fn resources(&self, kind: &str) -> impl Iterator<Item = (&str, &Value)> {
        let resources = self.root["Resources"].as_mapping().into_iter().flatten();
        resources
            .filter(move |(_, resource)| resource["Type"] == kind)
            .map(|(id, resource)| (id.as_str().unwrap_or_default(), resource))
    }

    fn function(&self, id: &str, name: &str, resource: &Value) -> Result<TemplateFunction, Drift> {
        only(resource, &["Type", "Condition", "DependsOn", "Properties"])?;
        let properties = &resource["Properties"];
        only(
            properties,
            &[
                "FunctionName",
                "CodeUri",
                "MemorySize",
                "Timeout",
                "ReservedConcurrentExecutions",
                "DeploymentPreference",
                "Environment",
                "Policies",
                "Events",
                "FunctionUrlConfig",
            ],
        )?;
        let mut drift = Vec::new();
        drift.extend(expect("its logical id", id, &pascal(name)).err());
        let function_name = text(&properties["FunctionName"]);
        drift.extend(expect("FunctionName", &function_name, &format!("!Sub souk-${{Stage}}-{name}")).err());

        let variables = &properties["Environment"]["Variables"];
        let trigger = match (properties.get("Events"), properties.get("FunctionUrlConfig")) {
            (Some(_), Some(_)) => return Err("events and a function URL".into()),
            (Some(events), None) => self.event(events)?,
            (None, Some(url)) => function_url(url)?,
            (None, None) if self.is_authorizer(id) => Trigger::Authorizer,
            (None, None) if self.is_run_by_deployment(id) => Trigger::Deployment,
            (None, None) => return Err("nothing invokes it".into()),
        };
        Ok(TemplateFunction {
            declared: Declared {
                trigger,
                environment: keys(variables),
                grants: grants(properties)?,
                condition: resource.get("Condition").map(text),
            },
            timeout: properties["Timeout"]
                .as_u64()
                .or(self.root["Globals"]["Function"]["Timeout"].as_u64())
                .unwrap_or(3),
            concurrency: concurrency(
                properties
                    .get("ReservedConcurrentExecutions")
                    .or_else(|| self.root["Globals"]["Function"].get("ReservedConcurrentExecutions")),
            )?,
            is_gradual: is_gradual(&properties["DeploymentPreference"])?,
            drift,
        })
    }

    fn event(&self, events: &Value) -> Result<Trigger, Drift> {
        let mut events = events.as_mapping().into_iter().flatten();
        let (Some((_, event)), None) = (events.next(), events.next()) else {
            return Err("not exactly one event".into());
        };
        let properties = &event["Properties"];
        match event["Type"].as_str() {
            Some("HttpApi") => {
                only(properties, &["ApiId", "Method", "Path", "Auth"])?;
                expect("ApiId", &text(&properties["ApiId"]), "!Ref Api")?;
                let is_public = match properties.get("Auth") {
                    None => false,
                    Some(auth) => {
                        only(auth, &["Authorizer"])?;
                        expect("Auth.Authorizer", &text(&auth["Authorizer"]), "NONE")?;
                        true
                    }
                };
                Ok(Trigger::Http { method: text(&properties["Method"]), path: text(&properties["Path"]), is_public })
            }
            Some("SQS") => {
                only(properties, &["Queue", "BatchSize", "FunctionResponseTypes", "ScalingConfig"])?;
                expect(
                    "FunctionResponseTypes",
                    &text(&properties["FunctionResponseTypes"][0]),
                    "ReportBatchItemFailures",
                )?;
                let queue = text(&properties["Queue"]);
                let queue = queue.strip_prefix("!GetAtt ").and_then(|queue| queue.strip_suffix("Queue.Arn"));
                let queue = queue.ok_or("its Queue is not `!GetAtt NAMEQueue.Arn`")?;
                let batch_size = properties["BatchSize"].as_u64().ok_or("no BatchSize")?;
                Ok(Trigger::Queue { name: kebab(queue), batch_size, subscriptions: self.subscriptions(queue)? })
            }
            Some("ScheduleV2") => {
                only(properties, &["Name", "ScheduleExpression", "PermissionsBoundary"])?;
                Ok(Trigger::Schedule)
            }
            other => Err(format!("an event of type {other:?}")),
        }
    }

    /// The types of the events that a queue subscribes to: the subscription, and the policy that lets the topic in, or neither.
    fn subscriptions(&self, queue: &str) -> Result<BTreeSet<String>, Drift> {
        let (subscription, policy) = (format!("{queue}Subscription"), format!("{queue}QueuePolicy"));
        let subscription = self.resources("AWS::SNS::Subscription").find(|(id, _)| *id == subscription);
        let policy = self.resources("AWS::SQS::QueuePolicy").find(|(id, _)| *id == policy);
        let ((_, subscription), (_, policy)) = match (subscription, policy) {
            (None, None) => return Ok(BTreeSet::new()),
            (Some(subscription), Some(policy)) => (subscription, policy),
            _ => return Err(format!("{queue}: a subscription without a policy, or a policy without one")),
        };
        let properties = &subscription["Properties"];
        let known = ["TopicArn", "Protocol", "Endpoint", "RawMessageDelivery", "FilterPolicy", "RedrivePolicy"];
        only(properties, &known)?;
        expect("TopicArn", &text(&properties["TopicArn"]), "!Ref EventsTopic")?;
        expect("Protocol", &text(&properties["Protocol"]), "sqs")?;
        expect("Endpoint", &text(&properties["Endpoint"]), &format!("!GetAtt {queue}Queue.Arn"))?;
        expect("RawMessageDelivery", &text(&properties["RawMessageDelivery"]), "true")?;
        let dead_letters = format!("!GetAtt {queue}DeadLetterQueue.Arn");
        expect("RedrivePolicy", &text(&properties["RedrivePolicy"]["deadLetterTargetArn"]), &dead_letters)?;
        only(&properties["FilterPolicy"], &["type"])?;

        only(&policy["Properties"], &["Queues", "PolicyDocument"])?;
        let queues = format!("[!Ref {queue}Queue, !Ref {queue}DeadLetterQueue]");
        expect("Queues", &text(&policy["Properties"]["Queues"]), &queues)?;
        let statements = policy["Properties"]["PolicyDocument"]["Statement"].as_sequence().map(Vec::as_slice);
        let [statement] = statements.unwrap_or_default() else {
            return Err(format!("{queue}: not exactly one statement"));
        };
        only(statement, &["Effect", "Principal", "Action", "Resource", "Condition"])?;
        expect("Effect", &text(&statement["Effect"]), "Allow")?;
        expect("Principal", &text(&statement["Principal"]["Service"]), "sns.amazonaws.com")?;
        expect("Action", &text(&statement["Action"]), "sqs:SendMessage")?;
        let resources = format!("[!GetAtt {queue}Queue.Arn, {dead_letters}]");
        expect("Resource", &text(&statement["Resource"]), &resources)?;
        expect("Condition", &text(&statement["Condition"]["ArnEquals"]["aws:SourceArn"]), "!Ref EventsTopic")?;
        let types = properties["FilterPolicy"]["type"].as_sequence().into_iter().flatten();
        Ok(types.map(text).collect())
    }

    fn is_authorizer(&self, id: &str) -> bool {
        let auth = &self.root["Resources"]["Api"]["Properties"]["Auth"];
        let default = auth["DefaultAuthorizer"].as_str().unwrap_or_default();
        text(&auth["Authorizers"][default]["FunctionArn"]) == format!("!Ref {id}.Alias")
    }

    fn is_run_by_deployment(&self, id: &str) -> bool {
        self.resources("Custom::Migration")
            .any(|(_, resource)| text(&resource["Properties"]["ServiceToken"]) == format!("!GetAtt {id}.Arn"))
    }

    /// Each environment variable with all of its values in the template.
    #[must_use]
    pub fn environment_values(&self) -> BTreeMap<String, BTreeSet<String>> {
        let mut values = BTreeMap::<String, BTreeSet<String>>::new();
        for (_, resource) in self.resources("AWS::Serverless::Function") {
            let variables = resource["Properties"]["Environment"]["Variables"].as_mapping();
            for (name, value) in variables.into_iter().flatten() {
                values.entry(text(name)).or_default().insert(text(value));
            }
        }
        values
    }
}

/// The `AlarmActions` of every alarm.
pub const TELLS: &str = "[!If [HasAlarmTopic, !Ref AlarmTopicArn, !Ref AWS::NoValue]]";

/// An alarm, in the template's notation.
#[derive(Debug, PartialEq, Eq)]
pub struct Alarm {
    pub namespace: String,
    pub metric: String,
    pub statistic: String,
    /// The one dimension's name and value.
    pub dimension: (String, String),
    /// It goes off above this.
    pub threshold: u64,
    /// The state of missing data.
    pub missing_data: String,
}

fn alarm(resource: &Value) -> Result<Alarm, Drift> {
    only(resource, &["Type", "Properties"])?;
    let properties = &resource["Properties"];
    only(
        properties,
        &[
            "AlarmName",
            "AlarmDescription",
            "Namespace",
            "MetricName",
            "Dimensions",
            "Statistic",
            "Period",
            "EvaluationPeriods",
            "ComparisonOperator",
            "Threshold",
            "TreatMissingData",
            "AlarmActions",
        ],
    )?;
    expect("Period", &text(&properties["Period"]), "60")?;
    expect("ComparisonOperator", &text(&properties["ComparisonOperator"]), "GreaterThanThreshold")?;
    expect("AlarmActions", &text(&properties["AlarmActions"]), TELLS)?;
    let dimensions = properties["Dimensions"].as_sequence().map(Vec::as_slice).unwrap_or_default();
    let [dimension] = dimensions else { return Err("not exactly one dimension".into()) };
    Ok(Alarm {
        namespace: text(&properties["Namespace"]),
        metric: text(&properties["MetricName"]),
        statistic: text(&properties["Statistic"]),
        dimension: (text(&dimension["Name"]), text(&dimension["Value"])),
        threshold: properties["Threshold"].as_u64().ok_or("no Threshold")?,
        missing_data: text(&properties["TreatMissingData"]),
    })
}

/// What `Sizes` calls a function's number of environments. On the stage there is no limit.
fn concurrency(reserved: Option<&Value>) -> Result<String, Drift> {
    let found = text(reserved.unwrap_or(&Value::Null));
    let name = found.strip_prefix("!If [IsInAws, !FindInMap [Sizes, !Ref Size, ");
    let name = name.and_then(|rest| rest.strip_suffix("], !Ref AWS::NoValue]"));
    name.map(str::to_owned).ok_or_else(|| format!("ReservedConcurrentExecutions is {found:?}, and none of `Sizes`"))
}

fn is_gradual(preference: &Value) -> Result<bool, Drift> {
    if preference.is_null() {
        return Ok(true);
    }
    only(preference, &["Enabled"])?;
    expect("DeploymentPreference.Enabled", &text(&preference["Enabled"]), "false")?;
    Ok(false)
}

/// Without IAM: the function requires an access token itself.
fn function_url(url: &Value) -> Result<Trigger, Drift> {
    only(url, &["AuthType", "InvokeMode", "Cors"])?;
    expect("AuthType", &text(&url["AuthType"]), "NONE")?;
    expect("InvokeMode", &text(&url["InvokeMode"]), "RESPONSE_STREAM")?;
    Ok(Trigger::FunctionUrl)
}

fn grants(properties: &Value) -> Result<BTreeSet<(String, String)>, Drift> {
    let mut grants = BTreeSet::new();
    for policy in properties["Policies"].as_sequence().into_iter().flatten() {
        only(policy, &["Version", "Statement"])?;
        for statement in policy["Statement"].as_sequence().into_iter().flatten() {
            only(statement, &["Effect", "Action", "Resource", "Condition"])?;
            expect("Effect", &text(&statement["Effect"]), "Allow")?;
            let (action, resource) = (text(&statement["Action"]), text(&statement["Resource"]));
            if action.contains(['*', '[']) || action.is_empty() || resource.is_empty() || resource == "*" {
                return Err(format!("a statement with action {action:?} and resource {resource:?}"));
            }
            grants.insert((action, resource + &condition(&statement["Condition"])));
        }
    }
    Ok(grants)
}

/// When a statement holds, after what it is about.
fn condition(condition: &Value) -> String {
    let operators = condition.as_mapping().into_iter().flatten();
    let keys = operators.flat_map(|(operator, keys)| {
        keys.as_mapping().into_iter().flatten().map(move |(key, value)| (text(key), text(operator), text(value)))
    });
    keys.map(|(key, operator, value)| [" if ", &key, " ", &operator, " ", &value].concat()).collect()
}

fn expect(what: &str, found: &str, expected: &str) -> Result<(), Drift> {
    if found == expected { Ok(()) } else { Err(format!("{what} is {found:?}, not {expected:?}")) }
}

fn only(value: &Value, known: &[&str]) -> Result<(), Drift> {
    match keys(value).into_iter().find(|key| !known.contains(&key.as_str())) {
        Some(key) => Err(format!("{key} is nothing that this test can compare")),
        None => Ok(()),
    }
}

fn keys(value: &Value) -> BTreeSet<String> {
    value.as_mapping().map(Mapping::keys).into_iter().flatten().map(text).collect()
}

/// A scalar or a list of them in the template's notation, with its tags.
fn text(value: &Value) -> String {
    match value {
        Value::Sequence(values) => format!("[{}]", values.iter().map(text).collect::<Vec<_>>().join(", ")),
        Value::String(text) => text.clone(),
        Value::Number(number) => number.to_string(),
        Value::Bool(value) => value.to_string(),
        Value::Tagged(tagged) => format!("{} {}", tagged.tag, text(&tagged.value)),
        _ => String::new(),
    }
}

fn kebab(pascal: &str) -> String {
    let mut text = String::new();
    for letter in pascal.chars() {
        if letter.is_ascii_uppercase() && !text.is_empty() {
            text.push('-');
        }
        text.push(letter.to_ascii_lowercase());
    }
    text
}
