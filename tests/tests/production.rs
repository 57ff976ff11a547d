//! The stacks around `template.yaml`: their names match, their sizes fit each other, and they can be created, changed
//! and deleted, as far as the stage's AWS knows their resources.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    process::{Command, Output, Stdio},
};

use redis::{ConnectionAddr, IntoConnectionInfo};
use serde_json::{Value, json};
use sqlx::mysql::{MySqlConnectOptions, MySqlSslMode};
use tests::{
    Stage, aws,
    declared::{Trigger, declared},
    stack::Stack,
    template::{Template, repository},
};

const STORES: &str = "infra/stores.yaml";
const MONITORING: &str = "infra/monitoring.yaml";
/// The parameter with the API's id, which the app stack writes.
const API_ID: &str = "/souk/local/api/id";
const SIZES: [&str; 3] = ["demo", "small", "large"];

/// Read by `template.yaml` and created by no stack: the keys of access tokens (docs/KEYS.md).
const MADE_OTHERWISE: [&str; 2] = ["parameter token/public-keys", "secret token-signing-key"];
/// Used only within `stores.yaml`.
const ONLY_OF_STORES: &str = "secret redis-authorizer";

/// Types that MiniStack does not know. `what_the_stage_is_said_not_to_know_it_refuses` tells when one can go.
const UNKNOWN_TYPES: [&str; 10] = [
    "AWS::CloudWatch::CompositeAlarm",
    "AWS::CodeDeploy::Application", // of what SAM makes of template.yaml: delivery.rs does without
    "AWS::CodeDeploy::DeploymentGroup", // the same
    "AWS::EC2::EIP",
    "AWS::EC2::FlowLog",
    "AWS::EC2::NatGateway",
    "AWS::EC2::SecurityGroupEgress",
    "AWS::RDS::DBProxy",
    "AWS::RDS::DBProxyTargetGroup",
    "AWS::SecretsManager::RotationSchedule",
];
/// The mark of an alarm with metric math, which MiniStack does not know either.
const METRIC_MATH: &str = "\n      Metrics:\n";

#[test]
fn the_app_stack_reads_what_the_stores_stack_makes() {
    let mut read = names(&Template::read());
    for name in MADE_OTHERWISE {
        assert!(read.remove(name), "template.yaml does not read the {name}");
    }
    let mut made = made(&Template::read_from(STORES));
    assert!(made.remove(ONLY_OF_STORES));
    assert_eq!(made, read);
}

#[test]
fn the_addresses_of_the_stores_are_ones_that_their_clients_read() {
    let template = Template::read_from(STORES);
    let address = |id: &str| {
        let (_, parameter) = template.resources("AWS::SSM::Parameter").find(|(found, _)| *found == id).unwrap();
        let serde_yaml_ng::Value::Tagged(value) = &parameter["Properties"]["Value"] else { panic!("{id}: not a !Sub") };
        let (before, rest) = value.value.as_str().unwrap().split_once("${").unwrap();
        format!("{before}store.example{}", rest.split_once('}').unwrap().1)
    };
    let mysql: MySqlConnectOptions = address("MysqlEndpointParameter").parse().unwrap();
    assert!(matches!(mysql.get_ssl_mode(), MySqlSslMode::VerifyIdentity));
    let redis = address("RedisEndpointParameter").into_connection_info().unwrap();
    assert!(matches!(redis.addr(), ConnectionAddr::TcpTls { insecure: false, .. }));
}

#[test]
fn the_functions_of_each_size_find_room_in_its_stores() {
    let (app, stores) = (Template::read(), Template::read_from(STORES));
    let functions = declared();
    let using = |store: &str| {
        let variable = format!("SOUK_{store}_ENDPOINT");
        u64::try_from(functions.values().filter(|function| function.environment.contains(&variable)).count()).unwrap()
    };
    for size in SIZES {
        let each = app.mapped("Sizes", size, "Concurrency");

        let (needed, allowed) = (each * using("MYSQL"), stores.mapped("Sizes", size, "MysqlConnections") * 9 / 10);
        assert!(needed <= allowed, "{size}: {needed} connections to MySQL, whose proxy opens {allowed}");

        // The driver opens a second connection, for monitoring.
        let (needed, allowed) = (2 * each * using("MONGODB"), mongodb_connections(size));
        assert!(needed <= allowed, "{size}: {needed} connections to DocumentDB, which is to have {allowed}");

        let (needed, allowed) = (each * using("REDIS"), 65_000 / 2);
        assert!(needed <= allowed, "{size}: {needed} connections to Redis, whose other half is the authorizer's");

        for (consumer, concurrency) in consumers(&app) {
            assert!(concurrency <= each, "{size}: {consumer} would be throttled, and its messages given up unread");
        }
    }
}

/// A quota of 1,000, which AWS gives most accounts, leaves 900 to divide. Larger sizes need a higher quota
/// (docs/OPERATIONS.md).
#[test]
fn all_but_the_largest_fit_a_usual_account() {
    let functions = u64::try_from(declared().len() - 1).unwrap();
    for size in ["demo", "small"] {
        let needed = functions * Template::read().mapped("Sizes", size, "Concurrency");
        assert!(needed <= 900, "{size}: {needed} environments are reserved");
    }
}

#[test]
fn alarms_go_off_at_nine_tenths_of_what_the_stores_allow() {
    let (stores, monitoring) = (Template::read_from(STORES), Template::read_from(MONITORING));
    for size in SIZES {
        let of = |template: &Template, name: &str| template.mapped("Sizes", size, name);
        assert_eq!(of(&monitoring, "MysqlConnections"), of(&stores, "MysqlConnections") * 9 / 10, "{size}");
        assert_eq!(of(&monitoring, "MysqlStorage"), of(&stores, "MysqlStorage") * (1 << 30) / 10, "{size}");
        assert_eq!(of(&monitoring, "MongodbConnections"), mongodb_connections(size) * 9 / 10, "{size}");
    }
}

/// The dashboard finds routes by the API, functions and queues by prefixes of their names; the drift test checks the
/// names.
#[test]
fn the_dashboard_is_json_and_looks_for_everything_there_is() {
    let template = Template::read_from(MONITORING);
    let (_, dashboard) = template.resources("AWS::CloudWatch::Dashboard").next().unwrap();
    let body = match &dashboard["Properties"]["DashboardBody"] {
        serde_yaml_ng::Value::Tagged(tagged) => tagged.value.as_str().unwrap().to_owned(),
        other => panic!("not a text with !Sub: {other:?}"),
    };
    let body: Value = serde_json::from_str(&body).unwrap();
    let widgets = body["widgets"].as_array().unwrap();
    let searches: Vec<&str> = widgets
        .iter()
        .filter_map(|widget| widget["properties"]["metrics"].as_array())
        .flatten()
        .filter_map(|metric| metric[0]["expression"].as_str())
        .collect();
    for (what, metrics) in [
        (
            r#"{AWS/ApiGateway,ApiId,Method,Resource,Stage} ApiId="${ApiId}""#,
            ["Count", "4xx", "5xx", "Latency"].as_slice(),
        ),
        (
            r#"{AWS/Lambda,FunctionName} FunctionName="souk-${Stage}""#,
            &["Errors", "Throttles", "ConcurrentExecutions", "Duration"],
        ),
        (
            r#"{AWS/SQS,QueueName} QueueName="souk-${Stage}""#,
            &["ApproximateNumberOfMessagesVisible", "ApproximateAgeOfOldestMessage"],
        ),
    ] {
        for metric in metrics {
            let search = format!(r#"{what} MetricName="{metric}""#);
            assert!(searches.iter().any(|found| found.contains(&search)), "nothing shows {search}");
        }
    }
}

#[test]
fn what_the_stage_is_said_not_to_know_it_refuses() {
    for kind in UNKNOWN_TYPES {
        let stack = Stack::new("unknown");
        let refusal = stack.create(&format!("Resources:\n  It:\n    Type: {kind}\n"), &[]);
        let refusal = refusal.err().unwrap_or_else(|| stack.wait());
        let events = stack.events();
        let is_unknown =
            refusal.contains("Unrecognized resource types") || events.contains("Unsupported resource type");
        assert!(is_unknown, "{kind}: {refusal}");
    }
    let (head, resources) = split(&text(MONITORING));
    let (_, alarm) = resources.iter().find(|(_, resource)| resource.contains(METRIC_MATH)).unwrap();
    let stack = Stack::new("unknown");
    stack.create(&format!("{head}{alarm}"), &[("ApiId", API_ID)]).unwrap();
    assert_ne!(stack.wait(), "CREATE_COMPLETE");
    assert!(stack.events().contains("metric math"));
}

#[test]
fn the_stores_stack_is_created_changed_and_deleted() {
    let (template, left_out) = known_part(&text(STORES));
    assert_eq!(
        left_out,
        [
            "FlowLogs",
            "FunctionsToMongodb",
            "FunctionsToMysqlProxy",
            "FunctionsToRedis",
            "MongodbSecretRotation",
            "MysqlAdminSecretRotation",
            "MysqlEndpointParameter", // it says where the proxy is
            "MysqlProxy",
            "MysqlProxyTarget",
            "MysqlProxyToMysql",
            "MysqlSecretRotation",
            "Nat",
            "NatAddress",
            "NatRoute",
            "RotationToMongodb",
            "RotationToMysql",
        ]
    );
    let stack = Stack::new("stores");
    let usual =
        [("Stage", "drill"), ("EmailSender", "Souk <no-reply@souk.example>"), ("EmailIdentity", "souk.example")];
    let large = [usual[0], usual[1], usual[2], ("Size", "large")];

    stack.create(&template, &usual).unwrap();
    assert_eq!(stack.wait(), "CREATE_COMPLETE", "{}", stack.events());
    let made = made(&Template::read_from(STORES));
    let parameters = made.iter().filter_map(|name| name.strip_prefix("parameter "));
    let expected: BTreeSet<String> =
        parameters.filter(|name| *name != "mysql/endpoint").map(|name| format!("/souk/drill/{name}")).collect();
    assert_eq!(parameters_of_drill(), expected);
    for name in ["mysql", "mysql-admin", "mongodb", "redis"] {
        let secret = secret_of_drill(name);
        assert!(secret["username"].is_string() && secret["password"].is_string(), "{name}");
    }
    assert!(secret_of_drill("mac-key")["key"].is_string());

    assert!(stack.update(&template, &usual).unwrap_err().contains("No updates are to be performed"));
    stack.update(&template, &large).unwrap();
    assert_eq!(stack.wait(), "UPDATE_COMPLETE", "{}", stack.events());

    // Deletion protection, as in docs/OPERATIONS.md: databases are protected until it is switched off.
    let unprotected = template.replace("DeletionProtection: true", "DeletionProtection: false");
    stack.update(&unprotected, &large).unwrap();
    assert_eq!(stack.wait(), "UPDATE_COMPLETE", "{}", stack.events());
    stack.delete();
    assert_eq!(stack.wait(), "gone", "{}", stack.events());
    assert_eq!(parameters_of_drill(), BTreeSet::new());
    // Retained on purpose, for restoring a snapshot.
    for name in ["mysql", "mysql-admin", "mongodb", "mac-key"] {
        let body = json!({ "SecretId": format!("souk/drill/{name}"), "ForceDeleteWithoutRecovery": true });
        let _ = aws::json_call("secretsmanager", "secretsmanager.DeleteSecret", &body);
    }
}

#[test]
fn the_monitoring_stack_is_created_changed_and_deleted() {
    let (template, left_out) = known_part(&text(MONITORING));
    assert_eq!(
        left_out,
        [
            "ErrorBudgetFastBurnAlarm",
            "ErrorBudgetSlowBurnAlarm",
            "FastBurnLong",
            "FastBurnShort",
            "SlowBurnLong",
            "SlowBurnShort",
        ]
    );
    let stack = Stack::new("monitoring");
    let usual = [("Stage", "local"), ("ApiId", API_ID)];
    let stricter = [usual[0], usual[1], ("SlowMilliseconds", "500")];
    stack.create(&template, &usual).unwrap();
    assert_eq!(stack.wait(), "CREATE_COMPLETE", "{}", stack.events());
    assert!(stack.update(&template, &usual).unwrap_err().contains("No updates are to be performed"));
    stack.update(&template, &stricter).unwrap();
    assert_eq!(stack.wait(), "UPDATE_COMPLETE", "{}", stack.events());
    stack.delete();
    assert_eq!(stack.wait(), "gone", "{}", stack.events());
}

fn smoke_test(address: &str) -> Output {
    let script = repository().join("infra/delivery/smoke_test.py");
    Command::new("python3").arg(script).arg(address).env("SMOKE_TEST_TRIES", "1").output().unwrap()
}

fn rollback(arguments: &[&str]) -> Output {
    Stage::xtask(&repository()).arg("rollback").args(arguments).stdin(Stdio::null()).output().unwrap()
}

#[test]
fn a_deployment_that_answers_passes_the_smoke_test_and_one_that_does_not_fails_it() {
    let stage = Stage::get();
    let api = stage.api_host.split('.').next().unwrap();
    let passed = smoke_test(&format!("{}/_aws/execute-api/{api}/$default", stage.aws_endpoint));
    assert!(passed.status.success(), "{passed:?}");
    // No API has this id: every route is a 404.
    let failed = smoke_test(&format!("{}/_aws/execute-api/none/$default", stage.aws_endpoint));
    assert_eq!(failed.status.code(), Some(1), "{failed:?}");
    assert!(String::from_utf8_lossy(&failed.stdout).contains("/health/ready: 404, and not 200"), "{failed:?}");
}

/// The rollback of `cargo xtask deploy` after a failed smoke test. Only this function has a version before the live
/// one, and one after it.
#[test]
fn a_rollback_brings_the_alias_back_to_the_version_before() {
    let function = format!("/2015-03-31/functions/{}", Stage::function("health"));
    let alias = format!("{function}/aliases/live");
    let version = |name: &str| aws::call("lambda", "GET", &alias, None)[name].clone();
    let point_to = |version: &Value| aws::call("lambda", "PUT", &alias, Some(&json!({ "FunctionVersion": version })));
    let before = version("FunctionVersion");
    let publish = |description: &str| {
        let change = json!({ "Description": description });
        let _ = aws::call("lambda", "PUT", &format!("{function}/configuration"), Some(&change));
        aws::call("lambda", "POST", &format!("{function}/versions"), Some(&json!({})))["Version"].clone()
    };
    let (_, old, new, _) = (publish("oldest"), publish("old"), publish("new"), publish("newest"));
    assert_ne!(old, new);
    let _ = point_to(&new);
    let refused = rollback(&["--env", "local"]);
    assert_eq!((refused.status.code(), version("FunctionVersion")), (Some(1), new), "nobody has said yes");
    let said = rollback(&["--env", "local", "--yes"]);
    let said = String::from_utf8_lossy(&said.stdout);
    let went_back = version("FunctionVersion");
    let _ = point_to(&before);
    assert!(said.contains("souk-local-health ") && said.ends_with("1 functions went back\n"), "{said}");
    assert_eq!(went_back, old);
}

/// Half of what AWS allows a serverless instance of the same memory (250 connections for each GiB: "Amazon DocumentDB serverless
/// instance limits"): the classes of these sizes have 4, 16 and 64 GiB, and limits of their own that are lower than that.
fn mongodb_connections(size: &str) -> u64 {
    match size {
        "demo" => 500,
        "small" => 2_000,
        "large" => 8_000,
        _ => panic!("no such size: {size}"),
    }
}

/// Every consumer with the maximum concurrency of its queue.
fn consumers(app: &Template) -> BTreeMap<String, u64> {
    let is_consumer = |name: &str| declared().get(name).is_some_and(|of| matches!(of.trigger, Trigger::Queue { .. }));
    let names: BTreeMap<String, String> =
        declared().into_keys().map(|name| (tests::declared::pascal(&name), name)).collect();
    app.resources("AWS::Serverless::Function")
        .filter(|(id, _)| names.get(*id).is_some_and(|name| is_consumer(name)))
        .map(|(id, function)| {
            let queue = &function["Properties"]["Events"]["Queue"]["Properties"];
            (id.to_owned(), queue["ScalingConfig"]["MaximumConcurrency"].as_u64().expect("a limit"))
        })
        .collect()
}

/// The parameters and secrets that a template refers to, by the part of their names after the stage.
fn names(template: &Template) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for text in template.texts() {
        for (kind, before) in [
            ("parameter", "{{resolve:ssm:/souk/${Stage}/"),
            ("secret", "{{resolve:secretsmanager:souk/${Stage}/"),
            ("secret", ":secret:souk/${Stage}/"),
        ] {
            for after in text.split(before).skip(1) {
                let name = after.split([':', '}']).next().unwrap_or_default().trim_end_matches("-??????");
                found.insert(format!("{kind} {name}"));
            }
        }
    }
    found
}

/// The parameters and secrets that a template creates, by the part of their names after the stage.
fn made(template: &Template) -> BTreeSet<String> {
    let kinds = [
        ("parameter", "AWS::SSM::Parameter", "/souk/${Stage}/"),
        ("secret", "AWS::SecretsManager::Secret", "souk/${Stage}/"),
    ];
    let mut found = BTreeSet::new();
    for (kind, resource_type, prefix) in kinds {
        for (id, resource) in template.resources(resource_type) {
            let name = match &resource["Properties"]["Name"] {
                serde_yaml_ng::Value::Tagged(tagged) => tagged.value.as_str().unwrap_or_default(),
                _ => panic!("{id}: its name is not a !Sub"),
            };
            let name = name.strip_prefix(prefix).unwrap_or_else(|| panic!("{id} is called {name}"));
            found.insert(format!("{kind} {name}"));
        }
    }
    found
}

fn text(path: &str) -> String {
    fs::read_to_string(repository().join(path)).unwrap()
}

/// A template's text before its resources, and each resource's text.
fn split(template: &str) -> (String, Vec<(String, String)>) {
    let (head, body) = template.split_once("\nResources:\n").unwrap();
    let mut resources: Vec<(String, String)> = Vec::new();
    for line in body.split_inclusive('\n') {
        let id = line.strip_prefix("  ").filter(|line| line.starts_with(char::is_alphabetic)).map(str::trim_end);
        match (id.and_then(|id| id.strip_suffix(':')), resources.last_mut()) {
            (Some(id), _) => resources.push((id.to_owned(), line.to_owned())),
            (None, Some((_, resource))) => resource.push_str(line),
            (None, None) => {}
        }
    }
    (format!("{head}\nResources:\n"), resources)
}

/// The part of a template that MiniStack knows, and the omitted resources: unknown types, and resources that depend on
/// them.
fn known_part(template: &str) -> (String, Vec<String>) {
    let (head, resources) = split(template);
    let is_unknown = |resource: &str| {
        let kind = resource.lines().find_map(|line| line.strip_prefix("    Type: ")).unwrap_or_default();
        UNKNOWN_TYPES.contains(&kind) || resource.contains(METRIC_MATH)
    };
    let unknown = resources.iter().filter(|(_, resource)| is_unknown(resource)).map(|(id, _)| id.clone());
    let mut left_out: BTreeSet<String> = unknown.collect();
    loop {
        let needs = |resource: &str, id: &str| {
            let references = [format!("!Ref {id}"), format!("!GetAtt {id}"), format!("${{{id}")];
            references.iter().any(|reference| {
                let ends = |after: &str| !after.starts_with(char::is_alphanumeric);
                resource.split(reference.as_str()).skip(1).any(ends)
            })
        };
        let more: Vec<String> = resources
            .iter()
            .filter(|(id, resource)| !left_out.contains(id) && left_out.iter().any(|gone| needs(resource, gone)))
            .map(|(id, _)| id.clone())
            .collect();
        if more.is_empty() {
            break;
        }
        left_out.extend(more);
    }
    let kept = resources.iter().filter(|(id, _)| !left_out.contains(id)).map(|(_, resource)| resource.as_str());
    (head + &kept.collect::<String>(), left_out.into_iter().collect())
}

fn parameters_of_drill() -> BTreeSet<String> {
    let body = json!({ "Path": "/souk/drill", "Recursive": true });
    let mut found = BTreeSet::new();
    let mut next = Value::Null;
    loop {
        let mut body = body.clone();
        if next.is_string() {
            body["NextToken"] = next;
        }
        let reply = aws::json_call("ssm", "AmazonSSM.GetParametersByPath", &body);
        let names =
            reply["Parameters"].as_array().into_iter().flatten().filter_map(|parameter| parameter["Name"].as_str());
        found.extend(names.map(str::to_owned));
        next = reply["NextToken"].clone();
        if !next.is_string() {
            return found;
        }
    }
}

fn secret_of_drill(name: &str) -> Value {
    let body = json!({ "SecretId": format!("souk/drill/{name}") });
    let reply = aws::json_call("secretsmanager", "secretsmanager.GetSecretValue", &body);
    serde_json::from_str(reply["SecretString"].as_str().unwrap()).unwrap()
}
