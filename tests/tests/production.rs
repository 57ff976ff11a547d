//! The stacks around `template.yaml`: their names match, their sizes fit each other, and they can be created, changed
//! and deleted, as far as the stage's AWS knows their resources.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    process::{Command, Output, Stdio},
    sync::mpsc,
};

use redis::{ConnectionAddr, IntoConnectionInfo};
use serde_json::{Value, json};
use sqlx::mysql::{MySqlConnectOptions, MySqlSslMode};
use tests::{
    Stage, aws,
    cloudformation::{Evaluated, parameters_of},
    declared::{Trigger, declared},
    http_server::{Answer, HttpServer},
    stack::Stack,
    template::{Template, TemplateFunction, repository},
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
    for size in SIZES {
        let stores = stores(size);
        let address = |id: &str| {
            let address = stores.resources[id]["Properties"]["Value"].as_str().unwrap();
            let (before, rest) = address.split_once("${").unwrap();
            format!("{before}store.example{}", rest.split_once('}').unwrap().1)
        };
        let mysql: MySqlConnectOptions = address("MysqlEndpointParameter").parse().unwrap();
        assert!(matches!(mysql.get_ssl_mode(), MySqlSslMode::VerifyIdentity), "{size}");
        // The proxy's certificate is of a public authority. The server's own is not: its roots are in the functions' layer.
        let has_proxy = stores.of_type("AWS::RDS::DBProxy").count() == 1;
        assert_eq!(address("MysqlEndpointParameter").ends_with("&ssl-ca=/opt/rds.pem"), !has_proxy, "{size}");
        let redis = address("RedisEndpointParameter").into_connection_info().unwrap();
        assert!(matches!(redis.addr(), ConnectionAddr::TcpTls { insecure: false, .. }), "{size}");
    }
}

#[test]
fn the_functions_of_each_size_find_room_in_its_stores() {
    let (app, stores) = (Template::read(), Template::read_from(STORES));
    let functions = app.functions().unwrap();
    for size in SIZES {
        let environments = |variable: &str| -> u64 {
            let using = functions.values().filter(|function| function.declared.environment.contains(variable));
            using.map(|function| app.environments(function, size)).sum()
        };

        // Nine tenths: the proxy opens no more, and where there is none the rest is for people and rotation all the same.
        let needed = environments("SOUK_MYSQL_ENDPOINT");
        let allowed = stores.mapped("Sizes", size, "MysqlConnections") * 9 / 10;
        assert!(needed <= allowed, "{size}: {needed} connections to MySQL, of {allowed}");

        // The driver opens a second connection, for monitoring.
        let (needed, allowed) = (2 * environments("SOUK_MONGODB_ENDPOINT"), mongodb_connections(size));
        assert!(needed <= allowed, "{size}: {needed} connections to DocumentDB, which is to have {allowed}");

        let needed = environments("SOUK_REDIS_ENDPOINT") + environments("SOUK_REVOCATION_REDIS_URL");
        assert!(needed <= 65_000, "{size}: {needed} connections to Redis");

        for (consumer, concurrency) in consumers(&app) {
            let reserved = app.mapped("Sizes", size, "BackgroundConcurrency");
            assert!(concurrency <= reserved, "{size}: {consumer} would be throttled, and its messages given up unread");
        }
    }
}

/// A quota of 1,000, which AWS gives most accounts, of which it keeps 100 for functions that reserve none.
const CONCURRENCY: u64 = 900;

/// What the functions of a stack reserve of it.
fn reserved(parameters: &BTreeMap<String, String>) -> u64 {
    let app = Evaluated::read("template.yaml", parameters);
    let functions = app.of_type("AWS::Lambda::Function");
    functions.map(|(id, function)| function["Properties"]["ReservedConcurrentExecutions"].as_u64().expect(id)).sum()
}

/// What is larger, or more of them, has to ask for more (docs/OPERATIONS.md).
#[test]
fn both_environments_fit_one_usual_account_the_lab_of_one_included() {
    let mut staging = parameters_of("staging");
    let _ = staging.insert("Lab".to_owned(), "on".to_owned());
    let needed = reserved(&staging) + reserved(&parameters_of("prod"));
    assert!(needed <= CONCURRENCY, "{needed} environments are reserved");
    // Every function has some of its own, so what else is in the account cannot take them: least of all the authorizer's, which everything
    // with a token waits for.
    let functions = Template::read().functions().unwrap();
    let authorizer = |function: &&TemplateFunction| matches!(function.declared.trigger, Trigger::Authorizer);
    assert_eq!(functions.values().find(authorizer).unwrap().concurrency, "AuthorizerConcurrency");
}

/// "60 dynamic references in a stack template", each occurrence counted, since AWS does not say that repeats are free. The stage's AWS counts
/// different ones.
/// <https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/cloudformation-limits.html>
#[test]
fn no_template_has_more_dynamic_references_than_cloudformation_allows() {
    let references = |template: &str| {
        let parameters = parameters_of("prod");
        tests::cloudformation::transform(template, &parameters).to_string().matches("{{resolve:").count()
    };
    for path in ["template.yaml", STORES, MONITORING] {
        let found = references(&text(path));
        assert!(found <= 60, "{path}: {found}");
    }
    // One of Globals is one of each function.
    let planted = "- '{{resolve:ssm:/souk/prod/network/subnet-1}}'\n          - !Ref NetworkSubnet2\n";
    let planted = text("template.yaml").replace("- !Ref NetworkSubnet1\n          - !Ref NetworkSubnet2\n", planted);
    assert!(references(&planted) >= declared().len());
}

/// By name, and the environment's own: another's would be taken without a word.
#[test]
fn every_environment_is_handed_its_own_stores() {
    let handed_over = Template::read().handed_over();
    assert!(handed_over.len() > 10);
    for environment in ["staging", "prod"] {
        let parameters = parameters_of(environment);
        assert_eq!(parameters["Stage"], environment);
        for (name, local) in &handed_over {
            let theirs = local.replace("/souk/local/", &format!("/souk/{environment}/"));
            assert_eq!(parameters.get(name), Some(&theirs), "{environment}: {name}");
        }
    }
}

/// A new account may have 10 concurrent executions. That is said before anything is created.
#[test]
fn an_account_that_is_too_small_is_told_so_before_anything_is_created() {
    let looked_at = |concurrency: u64, unreserved: u64, verified: &'static str, is_there: bool| {
        let aws = HttpServer::start(move |asked| {
            let found = |body: Value| Answer { status: "200 OK", headers: &[], body: body.to_string().into_bytes() };
            let missing = |code: &'static [(&'static str, &'static str)]| Answer {
                status: "404 Not Found",
                headers: code,
                body: b"{}".to_vec(),
            };
            match asked.path.as_str() {
                "/2016-08-19/account-settings" => found(json!({ "AccountLimit": {
                    "ConcurrentExecutions": concurrency, "UnreservedConcurrentExecutions": unreserved,
                } })),
                "/v2/email/account" => found(json!({ "ProductionAccessEnabled": false })),
                path if path.ends_with("/functions/souk-prod-health") && is_there => found(json!({})),
                path if path.ends_with("/functions/souk-prod-health") => {
                    missing(&[("x-amzn-ErrorType", "ResourceNotFoundException")])
                }
                path if path.replace("%40", "@") == format!("/v2/email/identities/{verified}") => {
                    found(json!({ "VerifiedForSendingStatus": true }))
                }
                _ => missing(&[("x-amzn-ErrorType", "NotFoundException")]),
            }
        });
        let mut script = Command::new(repository().join(".local/tools/bin/python"));
        script.arg(repository().join("infra/delivery/doctor.py")).arg("prod").current_dir(repository());
        script.envs([("AWS_ENDPOINT_URL", aws.url.as_str()), ("AWS_REGION", "eu-central-1")]);
        script.envs([("AWS_ACCESS_KEY_ID", "TEST"), ("AWS_SECRET_ACCESS_KEY", "test")]);
        let output = script.output().unwrap();
        let said = [output.stdout, output.stderr].concat();
        (output.status.success(), String::from_utf8(said).unwrap())
    };
    let (succeeded, said) = looked_at(1_000, 1_000, "souk.example", false);
    assert!(succeeded && said.contains("sandbox"), "{said}");
    let (succeeded, said) = looked_at(10, 10, "no-reply@souk.example", false);
    let needed = reserved(&parameters_of("prod"));
    let expected = format!("reserve {needed} concurrent executions, and 0 of the account's 10 are left");
    assert!(!succeeded && said.contains(&expected), "{said}");
    let (succeeded, said) = looked_at(1_000, 1_000, "another.example", false);
    assert!(!succeeded && said.contains("SES has verified neither no-reply@souk.example nor its domain"), "{said}");
    let (succeeded, said) = looked_at(1_000, 100, "another.example", true);
    assert!(succeeded && said.contains("is there already"), "{said}");
}

/// Not by the template: see there. `cargo xtask deploy stores` runs this when the stack is there (`delivery.rs`).
#[test]
fn both_databases_are_protected_by_their_script_and_can_be_unprotected() {
    let (sender, asked) = mpsc::channel();
    let aws = HttpServer::start(move |asked| {
        let _ = sender.send(String::from_utf8(asked.body).unwrap());
        let body = b"<Reply><ModifyDBInstanceResult/><ModifyDBClusterResult/></Reply>".to_vec();
        Answer { status: "200 OK", headers: &[("Content-Type", "text/xml")], body }
    });
    for (arguments, protected) in [(["prod"].as_slice(), true), (&["prod", "--off"], false)] {
        let mut script = Command::new(repository().join(".local/tools/bin/python"));
        script.arg(repository().join("infra/delivery/protect.py")).args(arguments);
        script.envs([("AWS_ENDPOINT_URL", aws.url.as_str()), ("AWS_REGION", "eu-central-1")]);
        script.envs([("AWS_ACCESS_KEY_ID", "TEST"), ("AWS_SECRET_ACCESS_KEY", "test")]);
        let output = script.output().unwrap();
        assert!(output.status.success(), "{output:?}");
        for (action, name) in [("ModifyDBInstance", "DBInstanceIdentifier"), ("ModifyDBCluster", "DBClusterIdentifier")]
        {
            let form = asked.try_recv().unwrap();
            for part in
                [format!("Action={action}"), format!("{name}=souk-prod"), format!("DeletionProtection={protected}")]
            {
                assert!(form.split('&').any(|found| found == part), "{part}: {form}");
            }
        }
    }
}

fn stores(size: &str) -> Evaluated {
    let mut parameters = parameters_of("prod-stores");
    let _ = parameters.insert("Size".to_owned(), size.to_owned());
    Evaluated::read(STORES, &parameters)
}

/// RDS for MySQL has Performance Insights for none of these ("Amazon RDS DB engine, Region, and instance class support for Database
/// Insights"), and refuses to create them with it.
/// <https://docs.aws.amazon.com/AmazonRDS/latest/UserGuide/USER_DatabaseInsights.Engines.html>
const WITHOUT_INSIGHTS: [&str; 6] =
    ["db.t2.micro", "db.t2.small", "db.t3.micro", "db.t3.small", "db.t4g.micro", "db.t4g.small"];

#[test]
fn performance_insights_are_asked_for_where_rds_has_them() {
    for size in SIZES {
        let stores = stores(size);
        let (_, mysql) = stores.of_type("AWS::RDS::DBInstance").next().unwrap();
        let properties = &mysql["Properties"];
        let has_them = !WITHOUT_INSIGHTS.contains(&properties["DBInstanceClass"].as_str().unwrap());
        assert_eq!(properties["EnablePerformanceInsights"], has_them, "{size}");
        assert_eq!(properties.get("PerformanceInsightsKMSKeyId").is_some(), has_them, "{size}");
        assert_eq!(properties.get("PerformanceInsightsRetentionPeriod").is_some(), has_them, "{size}");
    }
}

/// AWS makes a log group where one is missing, without an end. So each is declared, and is there before what writes to it.
#[test]
fn every_log_that_a_store_writes_has_an_end() {
    for size in SIZES {
        let stores = stores(size);
        let name = |properties: &Value, name: &str| properties[name].as_str().unwrap().to_owned();
        let mut sources: Vec<(String, Value)> = Vec::new();
        for (kind, folder, named) in [
            ("AWS::RDS::DBInstance", "rds/instance", "DBInstanceIdentifier"),
            ("AWS::DocDB::DBCluster", "docdb", "DBClusterIdentifier"),
        ] {
            for (_, database) in stores.of_type(kind) {
                let properties = &database["Properties"];
                let logs = properties["EnableCloudwatchLogsExports"].as_array().unwrap().iter();
                let folder = format!("/aws/{folder}/{}", name(properties, named));
                sources.extend(logs.map(|log| (format!("{folder}/{}", log.as_str().unwrap()), database.clone())));
            }
        }
        for (_, proxy) in stores.of_type("AWS::RDS::DBProxy") {
            sources.push((format!("/aws/rds/proxy/{}", name(&proxy["Properties"], "DBProxyName")), proxy.clone()));
        }
        for (_, rotation) in stores.of_type("AWS::SecretsManager::RotationSchedule") {
            let function = name(&rotation["Properties"]["HostedRotationLambda"], "RotationLambdaName");
            sources.push((format!("/aws/lambda/{function}"), rotation.clone()));
        }
        assert!(sources.len() >= 7, "{size}: {} sources", sources.len());
        for (group, source) in sources {
            let mut groups = stores.of_type("AWS::Logs::LogGroup");
            let declared = groups.find(|(_, found)| found["Properties"]["LogGroupName"] == group.as_str());
            let (id, declared) = declared.unwrap_or_else(|| panic!("{size}: nothing declares {group}"));
            assert!(declared["Properties"]["RetentionInDays"].is_string(), "{size}: {group} has no end");
            let waits = source["DependsOn"].to_string().contains(&format!("\"{id}\""));
            assert!(waits, "{size}: {group} may be made by what writes to it");
        }
    }
}

/// With a name of its own, the API answers at no other: a firewall before that name cannot be gone around.
#[test]
fn an_api_with_a_name_of_its_own_answers_at_no_other() {
    let mut parameters = parameters_of("prod");
    for domain in ["", "api.souk.example"] {
        let _ = parameters.insert("DomainName".to_owned(), domain.to_owned());
        let app = Evaluated::read("template.yaml", &parameters);
        let servers = &app.resources["Api"]["Properties"]["Body"]["servers"];
        let endpoint = &servers[0]["x-amazon-apigateway-endpoint-configuration"];
        assert_eq!(endpoint["disableExecuteApiEndpoint"], !domain.is_empty());
    }
}

/// Its URL has no throttle, so a slow reader must not hold an environment for long; and the API's origins do not reach it.
#[test]
fn the_export_ends_in_time_and_answers_the_same_origins_as_the_api() {
    // Lambda's limits of a streamed reply, in MB and MB/s.
    const LARGEST: u64 = 200;
    const FLOW: u64 = 2;
    let mut parameters = parameters_of("prod");
    let _ =
        parameters.insert("AllowedOrigins".to_owned(), "https://shop.example,https://admin.shop.example".to_owned());
    let app = Evaluated::read("template.yaml", &parameters);
    let timeout = app.resources["ProductsExport"]["Properties"]["Timeout"].as_u64().unwrap();
    assert!((LARGEST / FLOW..=300).contains(&timeout), "{timeout} s");
    let origins = json!(["https://shop.example", "https://admin.shop.example"]);
    assert_eq!(app.resources["ProductsExportUrl"]["Properties"]["Cors"]["AllowOrigins"], origins);
    assert_eq!(app.resources["Api"]["Properties"]["Body"]["x-amazon-apigateway-cors"]["allowOrigins"], origins);
}

#[test]
fn an_address_that_bounced_or_complained_gets_no_more_mail_and_a_topic_is_told() {
    let stores = stores("small");
    let (id, mail) = stores.of_type("AWS::SES::ConfigurationSet").next().unwrap();
    assert_eq!(mail["Properties"]["SuppressionOptions"]["SuppressedReasons"], json!(["BOUNCE", "COMPLAINT"]));
    let (_, told) = stores.of_type("AWS::SES::ConfigurationSetEventDestination").next().unwrap();
    assert_eq!(told["Properties"]["ConfigurationSetName"]["Ref"], id.as_str());
    let destination = &told["Properties"]["EventDestination"];
    assert_eq!(destination["MatchingEventTypes"], json!(["bounce", "complaint", "reject"]));
    let topic = destination["SnsDestination"]["TopicARN"]["Ref"].as_str().unwrap();
    assert_eq!(stores.resources[topic]["Type"], "AWS::SNS::Topic");
}

/// The first planner of DocumentDB 5.0 uses no index for `$elemMatch`.
/// <https://docs.aws.amazon.com/documentdb/latest/developerguide/query-planner.html>
#[test]
fn documentdb_has_the_planner_that_uses_indexes_of_lists() {
    let stores = stores("small");
    let (id, parameters) = stores.of_type("AWS::DocDB::DBClusterParameterGroup").next().unwrap();
    assert_eq!(parameters["Properties"]["Parameters"]["plannerVersion"], "2.0");
    let (_, cluster) = stores.of_type("AWS::DocDB::DBCluster").next().unwrap();
    assert_eq!(cluster["Properties"]["DBClusterParameterGroupName"]["Ref"], id.as_str());
}

/// A zone may lack what is needed there. Then others are named, all three for all subnets.
#[test]
fn zones_can_be_chosen() {
    let mut parameters = parameters_of("prod-stores");
    for (zone, name) in [("Zone1", "us-east-1a"), ("Zone2", "us-east-1d"), ("Zone3", "us-east-1f")] {
        let _ = parameters.insert(zone.to_owned(), name.to_owned());
    }
    let _ = parameters.insert("InternetEgress".to_owned(), "nat".to_owned());
    let stores = Evaluated::read(STORES, &parameters);
    let zones = stores.of_type("AWS::EC2::Subnet").map(|(_, subnet)| subnet["Properties"]["AvailabilityZone"].clone());
    let zones: BTreeMap<String, usize> = zones.fold(BTreeMap::new(), |mut zones, zone| {
        *zones.entry(zone.as_str().unwrap().to_owned()).or_default() += 1;
        zones
    });
    assert_eq!(zones, BTreeMap::from([("us-east-1a".into(), 2), ("us-east-1d".into(), 1), ("us-east-1f".into(), 1)]));
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
    // Metrics as AWS names them in an account with both stages: what has to be found, and by which searches.
    for (schema, dimension, values, metrics) in [
        (
            "AWS/ApiGateway,ApiId,Method,Resource,Stage",
            "ApiId",
            ["a1b2c3", "f9e8d7"],
            ["Count", "4xx", "5xx", "Latency"].as_slice(),
        ),
        (
            "AWS/Lambda,FunctionName",
            "FunctionName",
            ["souk-prod-orders-place", "souk-staging-orders-place"],
            &["Errors", "Throttles", "ConcurrentExecutions", "Duration"],
        ),
        (
            "AWS/SQS,QueueName",
            "QueueName",
            ["souk-prod-email-dlq", "souk-staging-email-dlq"],
            &["ApproximateNumberOfMessagesVisible", "ApproximateAgeOfOldestMessage"],
        ),
        (
            "AWS/ElastiCache,CacheClusterId",
            "CacheClusterId",
            ["souk-prod-001", "souk-staging-001"],
            &["EngineCPUUtilization", "DatabaseMemoryUsagePercentage"],
        ),
    ] {
        let of_schema = |search: &&&str| search.contains(&format!("{{{schema}}}"));
        for metric in metrics {
            let found = |value: &str| {
                searches.iter().filter(of_schema).any(|search| {
                    let search = search.replace("${Stage}", "prod").replace("${ApiId}", "a1b2c3");
                    finds(&search, &[(dimension, value), ("MetricName", metric)])
                })
            };
            assert!(found(values[0]), "nothing shows {metric} of {}", values[0]);
            assert!(!found(values[1]), "the other stage's {metric} is shown");
        }
    }
    let quoted = r#"SEARCH('{AWS/Lambda,FunctionName} FunctionName="souk-prod" MetricName="Errors"', 'Sum', 60)"#;
    assert!(!finds(quoted, &[("FunctionName", "souk-prod-orders-place"), ("MetricName", "Errors")]), "a planted one");
}

/// Whether a search finds a metric with these names, as CloudWatch searches: a term in quotes is the whole name, one without is a part of it
/// that begins and ends where its words do.
/// <https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/search-expression-syntax.html>
fn finds(search: &str, names: &[(&str, &str)]) -> bool {
    let terms = search.split_once('}').unwrap().1.split('\'').next().unwrap();
    terms.split_whitespace().all(|term| {
        let (designator, wanted) = term.split_once('=').unwrap();
        let (_, name) = names.iter().find(|(of, _)| *of == designator).unwrap_or_else(|| panic!("no {designator}"));
        match wanted.strip_prefix('"').and_then(|wanted| wanted.strip_suffix('"')) {
            Some(whole) => *name == whole,
            None => words(name).windows(words(wanted).len()).any(|part| part == words(wanted)),
        }
    })
}

fn words(name: &str) -> Vec<String> {
    name.split(|letter: char| !letter.is_alphanumeric())
        .filter(|word| !word.is_empty())
        .map(str::to_lowercase)
        .collect()
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
            "FunctionsToMysql",
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
    let usual = [("Stage", "drill"), ("EmailAddress", "no-reply@souk.example")];
    let large = [usual[0], usual[1], ("Size", "large")];

    // A first one that fails takes back all that it made, keys and secrets too, or the next would find their names taken.
    let failed = Stack::new("stores");
    failed.create(&format!("{template}{FAILS}"), &usual).unwrap();
    assert_eq!(failed.wait(), "ROLLBACK_COMPLETE", "{}", failed.events());
    assert!(!failed.events().contains("DELETE_SKIPPED"), "{}", failed.events());
    assert_eq!(secrets_of_drill(), BTreeSet::new());
    failed.delete();

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

    stack.delete();
    assert_eq!(stack.wait(), "gone", "{}", stack.events());
    assert_eq!(parameters_of_drill(), BTreeSet::new());
    // Retained on purpose, for restoring a snapshot.
    let kept = ["mac-key", "mongodb", "mysql", "mysql-admin"].map(|name| format!("souk/drill/{name}"));
    assert_eq!(secrets_of_drill(), kept.clone().into());
    for name in kept {
        let body = json!({ "SecretId": name, "ForceDeleteWithoutRecovery": true });
        let _ = aws::json_call("secretsmanager", "secretsmanager.DeleteSecret", &body);
    }
}

/// A resource that cannot be created, after those that are kept when their stack is deleted.
const FAILS: &str = "
  Fails:
    Type: AWS::SSM::Parameter
    DependsOn: [DataKey, SecretsKey, MysqlSecret, MysqlAdminSecret, MongodbSecret, MacKeySecret, Mysql, Mongodb]
    Properties:
      Name: !Sub /souk/${Stage}/fails
      Type: Nothing
      Value: nothing
";

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
    let handed_over = template.handed_over().into_values();
    let mut found: BTreeSet<String> =
        handed_over.map(|name| format!("parameter {}", name.strip_prefix("/souk/local/").unwrap())).collect();
    for text in template.texts() {
        for before in ["{{resolve:secretsmanager:souk/${Stage}/", ":secret:souk/${Stage}/"] {
            for after in text.split(before).skip(1) {
                let name = after.split([':', '}']).next().unwrap_or_default().trim_end_matches("-??????");
                found.insert(format!("secret {name}"));
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

fn secrets_of_drill() -> BTreeSet<String> {
    let reply = aws::json_call("secretsmanager", "secretsmanager.ListSecrets", &json!({ "MaxResults": 100 }));
    let names = reply["SecretList"].as_array().into_iter().flatten().filter_map(|secret| secret["Name"].as_str());
    names.filter(|name| name.starts_with("souk/drill/")).map(str::to_owned).collect()
}

fn secret_of_drill(name: &str) -> Value {
    let body = json!({ "SecretId": format!("souk/drill/{name}") });
    let reply = aws::json_call("secretsmanager", "secretsmanager.GetSecretValue", &body);
    serde_json::from_str(reply["SecretString"].as_str().unwrap()).unwrap()
}
