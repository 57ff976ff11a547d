//! Drift: the contract, the function directories, `template.yaml`, `openapi.json` and the running stage agree.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
};

use serde_json::Value;
use shared::{api::ROUTES, contract::Access, environment};
use tests::{
    Stage, aws,
    declared::{Declared, Trigger, declared},
    template::{Alarm, Drift, TELLS, Template, repository},
};

/// What no function reads: with another value, every function gets a new version (`canary.rs`).
const RELEASE: &str = "SOUK_RELEASE";

#[test]
fn every_declared_function_has_a_directory_and_every_directory_a_declaration() {
    let directories: BTreeSet<String> = fs::read_dir(repository().join("functions"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    assert_eq!(directories, declared().into_keys().collect());
}

#[test]
fn the_template_says_what_the_contract_says() {
    assert_eq!(drift(&Template::read()), Vec::<Drift>::new());
}

/// This secret grants changes of the schema: functions that serve requests must not have it.
#[test]
fn only_migrations_may_read_the_secret_of_the_first_user_of_mysql() {
    let functions = Template::read().functions().unwrap();
    let reads = |(_, resource): &(String, String)| {
        resource.contains("/mysql-admin") || (resource.contains(":secret:") && resource.contains("/*"))
    };
    let readers = functions.iter().filter(|(_, function)| function.declared.grants.iter().any(reads));
    assert_eq!(readers.map(|(name, _)| name).collect::<Vec<_>>(), ["migrate"]);
}

#[test]
fn openapi_json_is_what_the_contract_says() {
    let written = fs::read_to_string(repository().join("openapi.json")).unwrap();
    let generated = shared::api::document().to_pretty_json().unwrap() + "\n";
    assert!(written == generated, "run `cargo xtask openapi`");
}

#[test]
fn whatever_the_openapi_document_refers_to_is_in_it() {
    fn references<'a>(value: &'a Value, found: &mut BTreeSet<&'a str>) {
        match value {
            Value::Object(members) => {
                found.extend(members.get("$ref").and_then(Value::as_str));
                members.values().for_each(|value| references(value, found));
            }
            Value::Array(values) => values.iter().for_each(|value| references(value, found)),
            _ => {}
        }
    }
    let document = serde_json::to_value(shared::api::document()).unwrap();
    let mut found = BTreeSet::new();
    references(&document, &mut found);
    assert!(!found.is_empty());
    let is_missing = |reference: &&&str| document.pointer(reference.trim_start_matches('#')).is_none();
    assert_eq!(found.iter().filter(is_missing).collect::<Vec<_>>(), Vec::<&&str>::new());
}

#[test]
fn the_stage_routes_what_the_contract_says() {
    let api = Stage::get().api_host.split('.').next().unwrap_or_default();
    let list = |kind: &str| {
        let reply = aws::call("apigateway", "GET", &format!("/v2/apis/{api}/{kind}"), None);
        reply["items"].as_array().cloned().unwrap_or_default()
    };
    let integrations = list("integrations");
    let function_of = |route: &Value| {
        let target = route["target"].as_str().unwrap_or_default().replace("integrations/", "");
        let integration = integrations.iter().find(|found| found["integrationId"] == target.as_str());
        let uri = integration.and_then(|found| found["integrationUri"].as_str()).unwrap_or_default();
        uri.split("function:").nth(1).unwrap_or_default().split(['/', ':']).next().unwrap_or_default().to_owned()
    };
    let deployed: BTreeSet<(String, String, bool)> = list("routes")
        .iter()
        .map(|route| {
            let is_public = route["authorizationType"].as_str() != Some("CUSTOM");
            (route["routeKey"].as_str().unwrap_or_default().to_owned(), function_of(route), is_public)
        })
        .collect();
    let declared = ROUTES
        .iter()
        .filter(|route| !route.streamed)
        .map(|route| (route.route_key.to_owned(), Stage::function(route.name), route.access == Access::Public));
    assert_eq!(deployed, declared.collect());
}

/// Each kind of drift, planted in the template's text, is found.
#[test]
fn planted_drift_is_found() {
    let original = fs::read_to_string(repository().join("template.yaml")).unwrap();
    let plants = [
        ("a method", "Method: POST\n            Path: /v1/orders", "Method: PUT\n            Path: /v1/orders"),
        ("a path", "Path: /v1/users/me", "Path: /v1/users/you"),
        (
            "a missing authorizer",
            "Path: /v1/users/me",
            "Path: /v1/users/me\n            Auth:\n              Authorizer: NONE",
        ),
        (
            "an authorizer too many",
            "Path: /v1/products/{id}\n            Auth:\n              Authorizer: NONE",
            "Path: /v1/products/{id}",
        ),
        ("a missing variable", "          SOUK_REDIS_SECRET: !Sub souk/${Stage}/redis\n", ""),
        (
            "another value",
            "SOUK_MYSQL_SECRET: !Sub souk/${Stage}/mysql",
            "SOUK_MYSQL_SECRET: !Sub souk/${Stage}/mongodb",
        ),
        ("a missing action", "Action: sqs:SendMessage", "Action: sqs:ReceiveMessage"),
        ("an action on more than needed", "secret:souk/${Stage}/mysql-??????", "secret:souk/${Stage}/*"),
        ("a wildcard action", "Action: ses:SendEmail", "Action: ses:*"),
        ("a binary", "CodeUri: target/lambda/users-me-get/", "CodeUri: target/lambda/users-me/"),
        (
            "a function's name",
            "FunctionName: !Sub souk-${Stage}-health-ready",
            "FunctionName: !Sub souk-${Stage}-ready",
        ),
        ("a queue's consumer", "Queue: !GetAtt EmailQueue.Arn", "Queue: !GetAtt EmailDeadLetterQueue.Arn"),
        ("a subscription too few", "type: [order-placed.v1, order-cancelled.v1,", "type: [order-cancelled.v1,"),
        ("a subscription to another topic", "      TopicArn: !Ref EventsTopic", "      TopicArn: !Ref AlarmTopicArn"),
        ("an envelope in an envelope", "RawMessageDelivery: true", "RawMessageDelivery: false"),
        (
            "an event that gets lost",
            "RedrivePolicy: # an event that the queue does not take\n        deadLetterTargetArn: !GetAtt Email",
            "RedrivePolicy: # an event that the queue does not take\n        deadLetterTargetArn: !GetAtt Report",
        ),
        ("a queue that lets no topic in", "Service: sns.amazonaws.com", "Service: s3.amazonaws.com"),
        ("a queue that lets every topic in", "aws:SourceArn: !Ref EventsTopic", "aws:SourceArn: \"*\""),
        ("a publisher that may not", "Action: sns:Publish", "Action: sns:Subscribe"),
        ("a batch size", "BatchSize: 10", "BatchSize: 5"),
        ("no partial batches", "FunctionResponseTypes: [ReportBatchItemFailures]", "FunctionResponseTypes: []"),
        ("a visibility timeout", "VisibilityTimeout: 180", "VisibilityTimeout: 60"),
        ("a redrive policy", "maxReceiveCount: 5", "maxReceiveCount: 1"),
        ("a property nobody compares", "      Timeout: 50\n", "      Timeout: 50\n      Layers: [x]\n"),
        (
            "what a given up message may do",
            "Resource: !GetAtt EmailDeadLetterQueue.Arn",
            "Resource: !GetAtt EmailQueue.Arn",
        ),
        ("another dead-letter queue", "_QUEUE_URL: !Ref EmailDeadLetterQueue", "_QUEUE_URL: !Ref EmailQueue"),
        ("an alarm nobody hears", "AlarmActions: [!If [HasAlarmTopic,", "AlarmActions: [!If [HasNoAlarmTopic,"),
        (
            "an alarm that watches another queue",
            "Value: !GetAtt EmailDeadLetterQueue.QueueName",
            "Value: !GetAtt EmailQueue.QueueName",
        ),
        ("an alarm that is late", "Threshold: 0\n", "Threshold: 10\n"),
        ("an alarm that counts otherwise", "Statistic: Maximum", "Statistic: Average"),
        (
            "a function with a limit of its own",
            "CodeUri: target/lambda/health/\n",
            "CodeUri: target/lambda/health/\n      ReservedConcurrentExecutions: 1\n",
        ),
        ("a staff function with the customers' limit", "StaffConcurrency], !Ref", "Concurrency], !Ref"),
        (
            "a function that requests wait for, changed at once",
            "CodeUri: target/lambda/health/\n",
            "CodeUri: target/lambda/health/\n      DeploymentPreference: { Enabled: false }\n",
        ),
        (
            "a consumer whose deployment an alarm of requests ends",
            "      DeploymentPreference: { Enabled: false }\n",
            "",
        ),
        ("mail from any address", "ses:FromAddress: !Ref EmailAddress", "ses:FromAddress: !Ref EmailSender"),
        (
            "an authorizer that is asked past its alias",
            "FunctionArn: !Ref Authorizer.Alias",
            "FunctionArn: !GetAtt Authorizer.Arn",
        ),
        ("a lag that nobody measures", "MetricName: OutboxLagSeconds", "MetricName: OutboxLag"),
        (
            "an alarm too few",
            "  EmailAgeAlarm:\n    Type: AWS::CloudWatch::Alarm",
            "  EmailAgeAlarm:\n    Type: AWS::SNS::Topic",
        ),
        ("a function URL that lets nobody in", "AuthType: NONE", "AuthType: AWS_IAM"),
        ("a reply that is held back", "InvokeMode: RESPONSE_STREAM", "InvokeMode: BUFFERED"),
        ("the common environment", "SOUK_STAGE: !Ref Stage", "SOUK_STAGES: !Ref Stage"),
        ("the runtime", "Runtime: provided.al2023", "Runtime: provided.al2"),
        (
            "a lab that is there unless somebody objects",
            "  Lab:\n    Type: String\n    Default: \"off\"",
            "  Lab:\n    Type: String\n    Default: \"on\"",
        ),
        ("a lab that is there while it is off", "!Equals [!Ref Lab, \"on\"]", "!Equals [!Ref Lab, \"off\"]"),
        ("a lab function that is always there", "    Condition: HasLab\n", ""),
        (
            "a function that is there only with the lab",
            "  Health:\n    Type:",
            "  Health:\n    Condition: HasLab\n    Type:",
        ),
    ];
    for (kind, found, planted) in plants {
        assert!(original.contains(found), "{kind}: the template has no {found:?} to plant it in");
        let template = Template::parse(&original.replacen(found, planted, 1));
        assert_ne!(drift(&template), Vec::<Drift>::new(), "{kind} was not found");
    }
}

/// All differences between template and contract.
fn drift(template: &Template) -> Vec<Drift> {
    let mut drift = Vec::new();
    let mut differ = |what: &str, found: String, expected: String| {
        if found != expected {
            drift.push(format!("{what} is {found}, not {expected}"));
        }
    };
    let common = environment::COMMON.iter().chain(&[RELEASE]).map(|name| (*name).to_owned()).collect::<BTreeSet<_>>();
    differ("the common environment", format!("{:?}", template.common_environment()), format!("{common:?}"));
    differ("the runtime", template.global("Runtime"), "provided.al2023".into());
    differ("the handler", template.global("Handler"), "bootstrap".into());
    differ("the lab where nobody asks for it", template.default_of("Lab"), "off".into());
    differ("when the lab is there", template.condition("HasLab"), "!Equals [!Ref Lab, on]".into());

    for (variable, values) in template.environment_values() {
        let expected = expected_value(&variable);
        differ(&variable, format!("{values:?}"), format!("{:?}", BTreeSet::from([expected])));
    }

    let alarms = match template.alarms() {
        Ok(alarms) => alarms,
        Err(unreadable) => return vec![unreadable],
    };
    differ("the alarms", format!("{alarms:#?}"), format!("{:#?}", expected_alarms()));
    let computed = BTreeMap::from([("ApiFaultsAlarm", TELLS.to_owned())]);
    differ("the alarms that compute", format!("{:?}", template.computed_alarms()), format!("{computed:?}"));

    let functions = match template.functions() {
        Ok(functions) => functions,
        Err(unreadable) => return vec![unreadable],
    };
    let declared = declared();
    let names = |keys: Vec<&String>| format!("{keys:?}");
    differ("the list of functions", names(functions.keys().collect()), names(declared.keys().collect()));
    for (name, function) in &functions {
        let Some(declared) = declared.get(name) else { continue };
        differ(name, format!("{:#?}", function.declared), format!("{declared:#?}"));
        differ(&format!("{name}'s limit"), function.concurrency.clone(), concurrency(name, declared).to_owned());
        let is_waited_for =
            !matches!(declared.trigger, Trigger::Queue { .. } | Trigger::Schedule | Trigger::Deployment);
        differ(&format!("whether {name} shifts"), function.is_gradual.to_string(), is_waited_for.to_string());
    }
    for function in functions.values() {
        drift.extend(function.drift.iter().cloned());
        if let Trigger::Queue { name, .. } = &function.declared.trigger {
            drift.extend(queue_drift(template, name, function.timeout).err());
        }
    }
    drift
}

/// What a function's number of environments is called: it follows from what calls the function.
fn concurrency(name: &str, function: &Declared) -> &'static str {
    let is_staff = |route: &&shared::contract::Route| matches!(route.access, Access::Permission(_)) && !route.streamed;
    match &function.trigger {
        Trigger::Authorizer => "AuthorizerConcurrency",
        Trigger::Queue { .. } | Trigger::Schedule | Trigger::Deployment => "BackgroundConcurrency",
        Trigger::Http { .. } | Trigger::FunctionUrl
            if ROUTES.iter().filter(is_staff).any(|route| route.name == name) =>
        {
            "StaffConcurrency"
        }
        // The export too: a slow reader holds one of them for minutes.
        Trigger::Http { .. } | Trigger::FunctionUrl => "Concurrency",
    }
}

/// The value of a variable follows from its name, wherever it is set.
fn expected_value(variable: &str) -> String {
    match variable {
        "SOUK_EMAIL_SENDER" => "!Ref EmailSender".into(),
        "SOUK_TOKEN_PUBLIC_KEYS" => "!Ref TokenPublicKeys".into(),
        "SOUK_TOKEN_SIGNING_SECRET" => "!Sub souk/${Stage}/token-signing-key".into(),
        "SOUK_MAC_SECRET" => "!Sub souk/${Stage}/mac-key".into(),
        "SOUK_GOOGLE_ISSUER" => "!Ref GoogleIssuer".into(),
        "SOUK_GOOGLE_JWKS_URL" => "!Ref GoogleJwksUrl".into(),
        "SOUK_GOOGLE_CLIENT_ID" => "!Ref GoogleClientId".into(),
        "SOUK_REFRESH_GRACE_SECONDS" => "!Ref RefreshGraceSeconds".into(),
        "SOUK_ADDRESS_LIMIT_FACTOR" => "!Ref AddressLimitFactor".into(),
        "SOUK_REVOCATION_REDIS_URL" => {
            "!Sub {{resolve:secretsmanager:souk/${Stage}/redis-revocation:SecretString:url}}".into()
        }
        _ => {
            let words: Vec<String> = variable.to_lowercase().split('_').map(str::to_owned).collect();
            match words.iter().map(String::as_str).collect::<Vec<_>>()[..] {
                ["souk", store, "endpoint"] => format!("!Ref {}Endpoint", tests::declared::pascal(store)),
                ["souk", store, "secret"] => format!("!Sub souk/${{Stage}}/{store}"),
                ["souk", store, user, "secret"] => format!("!Sub souk/${{Stage}}/{store}-{user}"),
                ["souk", queue, "dead", "letter", "queue", "url"] => {
                    format!("!Ref {}DeadLetterQueue", tests::declared::pascal(queue))
                }
                ["souk", topic, "topic", "arn"] => format!("!Ref {}Topic", tests::declared::pascal(topic)),
                ["souk", queue, "queue", "url"] => format!("!Ref {}Queue", tests::declared::pascal(queue)),
                _ => format!("a variable that this test knows a value for: {variable}"),
            }
        }
    }
}

/// Two alarms for every consumed queue, and one for the outboxes. The one that rolls a deployment back computes: `canary.rs`.
fn expected_alarms() -> BTreeMap<String, Alarm> {
    let alarm = |namespace: &str, metric: &str, dimension: (&str, String), threshold, missing_data: &str| Alarm {
        namespace: namespace.to_owned(),
        metric: metric.to_owned(),
        statistic: "Maximum".to_owned(),
        dimension: (dimension.0.to_owned(), dimension.1),
        threshold,
        missing_data: missing_data.to_owned(),
    };
    let of_queue = |metric: &str, queue: String, threshold| {
        let dimension = ("QueueName", format!("!GetAtt {queue}.QueueName"));
        alarm("AWS/SQS", metric, dimension, threshold, "notBreaching")
    };
    let lag = alarm("souk", "OutboxLagSeconds", ("stage", "!Ref Stage".into()), 300, "breaching");
    let mut alarms = BTreeMap::from([("OutboxLagAlarm".to_owned(), lag)]);
    for declared in declared().values() {
        let Trigger::Queue { name, .. } = &declared.trigger else { continue };
        let name = tests::declared::pascal(name);
        let given_up = of_queue("ApproximateNumberOfMessagesVisible", format!("{name}DeadLetterQueue"), 0);
        let old = of_queue("ApproximateAgeOfOldestMessage", format!("{name}Queue"), 900);
        alarms.extend([(format!("{name}DeadLetterAlarm"), given_up), (format!("{name}AgeAlarm"), old)]);
    }
    alarms
}

/// The queue exists, its visibility timeout suits its consumer, and a message is dead-lettered only after several
/// receives.
fn queue_drift(template: &Template, name: &str, consumer_timeout: u64) -> Result<(), Drift> {
    let queue = template.queue(name)?;
    template.dead_letter_queue(name, queue)?;
    let visibility = queue["VisibilityTimeout"].as_u64().unwrap_or(30);
    if visibility < 6 * consumer_timeout {
        return Err(format!("queue {name}: its visibility timeout is less than six times its consumer's timeout"));
    }
    let tries = queue["RedrivePolicy"]["maxReceiveCount"].as_u64().unwrap_or(0);
    if tries < 5 {
        return Err(format!("queue {name}: a message is given up after {tries} tries"));
    }
    Ok(())
}
