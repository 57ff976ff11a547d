//! Canary deployment: an alarm rolls it back while requests shift to new code.
//!
//! The stage's AWS has no `CodeDeploy`, which does that. So the test checks what SAM makes of `template.yaml` with the
//! settings of production, which CloudFormation hands to `CodeDeploy`. `delivery.rs` checks that a rollback by
//! CloudFormation counts as a failure.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
};

use ring::digest::{SHA256, digest};
use serde_json::{Map, Value, json};
use tests::{
    cloudformation::{Evaluated, parameters_of, transform},
    declared::{Declared, Trigger, declared, pascal},
    template::repository,
};

/// The alarm on failed requests: its name is all that `CodeDeploy` knows of it.
const ALARM: &str = "souk-${Stage}-api-faults";

/// Types that only a gradual deployment needs. `production.rs` checks that the stage does not know them.
const CODE_DEPLOY: [&str; 2] = ["AWS::CodeDeploy::Application", "AWS::CodeDeploy::DeploymentGroup"];

/// Every resource that CloudFormation creates from a template.
fn resources(template: &str) -> Map<String, Value> {
    transform(template, &with_lab())["Resources"].as_object().unwrap().clone()
}

fn with_lab() -> BTreeMap<String, String> {
    let mut parameters = parameters_of("prod");
    let _ = parameters.insert("Lab".to_owned(), "on".to_owned());
    parameters
}

fn template() -> String {
    fs::read_to_string(repository().join("template.yaml")).unwrap()
}

/// A function's resources are prefixed with its name.
fn alias(function: &str) -> String {
    format!("{}Aliaslive", pascal(function))
}

/// The API asks it, or asks it first.
fn behind_the_api(function: &Declared) -> bool {
    matches!(function.trigger, Trigger::Http { .. } | Trigger::Authorizer)
}

/// A request waits for it, so that its faults are those of requests.
fn is_waited_for(function: &Declared) -> bool {
    behind_the_api(function) || matches!(function.trigger, Trigger::FunctionUrl)
}

#[test]
fn every_function_that_requests_wait_for_moves_little_by_little_and_goes_back_when_the_alarm_goes_off() {
    let resources = resources(&template());
    let application = json!({ "Ref": "ServerlessDeploymentApplication" });
    assert_eq!(resources["ServerlessDeploymentApplication"]["Properties"]["ComputePlatform"], "Lambda");
    for (name, function) in &declared() {
        let group_name = format!("{}DeploymentGroup", pascal(name));
        let alias = &resources[&alias(name)];
        if !is_waited_for(function) {
            assert_eq!((alias.get("UpdatePolicy"), resources.get(&group_name)), (None, None), "{name} changes at once");
            continue;
        }
        let moved_by = json!({ "ApplicationName": application, "DeploymentGroupName": { "Ref": group_name } });
        assert_eq!(alias["UpdatePolicy"]["CodeDeployLambdaAliasUpdate"], moved_by, "{name}");

        let group = &resources[&group_name]["Properties"];
        assert_eq!(group["ApplicationName"], application, "{name}");
        let style = json!({ "DeploymentType": "BLUE_GREEN", "DeploymentOption": "WITH_TRAFFIC_CONTROL" });
        assert_eq!(group["DeploymentStyle"], style, "{name}");
        let shift = &group["DeploymentConfigName"]["Fn::Sub"];
        assert_eq!(
            *shift,
            json!(["CodeDeployDefault.Lambda${ConfigName}", { "ConfigName": "Canary10Percent5Minutes" }])
        );

        assert_eq!(group["AlarmConfiguration"]["Enabled"], true, "{name}");
        assert_eq!(group["AlarmConfiguration"]["Alarms"], json!([{ "Name": { "Fn::Sub": ALARM } }]), "{name}");
        let back = &group["AutoRollbackConfiguration"];
        let events: BTreeSet<&str> = back["Events"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
        assert_eq!(back["Enabled"], true, "{name}");
        let wanted = BTreeSet::from(["DEPLOYMENT_FAILURE", "DEPLOYMENT_STOP_ON_ALARM", "DEPLOYMENT_STOP_ON_REQUEST"]);
        assert_eq!(events, wanted, "{name}");
    }
    let aliases = resources.values().filter(|resource| resource["Type"] == "AWS::Lambda::Alias").count();
    assert_eq!(aliases, declared().len(), "an alias that no declared function has");
    for resource in resources.values().filter(|resource| resource["Type"] == "AWS::CodeDeploy::DeploymentGroup") {
        let role = json!({ "Fn::GetAtt": ["CodeDeployRole", "Arn"] });
        assert_eq!(resource["Properties"]["ServiceRoleArn"], role, "the one with a boundary");
    }
    // What is not there is not deployed either.
    let groups = |parameters: &BTreeMap<String, String>| {
        Evaluated::of(&template(), parameters).of_type("AWS::CodeDeploy::DeploymentGroup").count()
    };
    let there = declared().values().filter(|function| function.condition.is_none() && is_waited_for(function)).count();
    assert_eq!(groups(&parameters_of("prod")), there);
    assert!(groups(&with_lab()) > there);
}

/// What the alarm computes of one minute: its share of faults, in per cent, and whether it goes off.
fn goes_off(alarm: &Value, requests: u32, faults: u32) -> bool {
    let metrics = alarm["Metrics"].as_array().unwrap();
    let shown: Vec<&Value> = metrics.iter().filter(|metric| metric["ReturnData"] != false).collect();
    let [shown] = shown[..] else { panic!("not exactly one figure") };
    let expression = shown["Expression"].as_str().unwrap();
    // The one form that this reads: a floor for the faults, and their share above it.
    let (floor, share) = expression.strip_prefix("IF(faults >= ").unwrap().split_once(", ").unwrap();
    assert_eq!(share, "100 * faults / requests, 0)");
    let percent = if faults >= floor.parse().unwrap() { 100.0 * f64::from(faults) / f64::from(requests) } else { 0.0 };
    assert_eq!(alarm["ComparisonOperator"], "GreaterThanThreshold");
    percent > alarm["Threshold"].as_f64().unwrap()
}

/// By a count alone, quiet noise would take a release back at a thousand requests a second, and at one a second nothing would.
#[test]
fn the_alarm_hears_a_canary_that_fails_and_no_noise_at_any_rate() {
    let resources = resources(&template());
    let alarm = &resources["ApiFaultsAlarm"]["Properties"];
    assert_eq!(alarm["EvaluationPeriods"], 1);
    for metric in alarm["Metrics"].as_array().unwrap().iter().filter(|metric| metric.get("MetricStat").is_some()) {
        assert_eq!((&metric["MetricStat"]["Period"], &metric["MetricStat"]["Stat"]), (&json!(60), &json!("Sum")));
    }
    for per_second in [1, 10, 100, 1_000, 10_000] {
        let requests = 60 * per_second;
        // The error budget is one in a thousand: that many of a minute are nothing to stop for, nor twice as many.
        for noise in [requests / 1_000, requests / 500, 1, 2] {
            assert!(!goes_off(alarm, requests, noise), "{per_second}/s, {noise} faults");
        }
        // A canary gets a tenth: of all requests, where all are its function's, and of half of them.
        for failing in [requests / 10, requests / 20] {
            assert!(goes_off(alarm, requests, failing), "{per_second}/s, {failing} faults");
        }
    }
    assert!(goes_off(alarm, 60_000, 600), "a function with a tenth of the requests");
}

/// The alarm counts the API's replies: it covers every function that replies there through its alias, and no other.
#[test]
fn the_alarm_watches_the_api_that_asks_the_aliases() {
    let resources = resources(&template());
    let named = |resource: &&Value| resource["Properties"]["AlarmName"]["Fn::Sub"] == ALARM;
    let alarm = resources.values().find(named).expect("the alarm that the deployments name");
    let mut watched: Vec<(&str, &Value)> = Vec::new();
    for metric in alarm["Properties"]["Metrics"].as_array().unwrap() {
        let Some(of) = metric["MetricStat"].get("Metric") else { continue };
        watched.push((metric["Id"].as_str().unwrap(), &of["MetricName"]));
        assert_eq!(of["Namespace"], "AWS/ApiGateway");
        assert_eq!(of["Dimensions"], json!([{ "Name": "ApiId", "Value": { "Ref": "Api" } }]));
    }
    assert_eq!(watched, [("requests", &json!("Count")), ("faults", &json!("5xx"))]);

    // In the integrations' addresses and in the authorizer's.
    let asked_by_the_api = resources["Api"]["Properties"]["Body"].to_string();
    let others: BTreeSet<String> = declared()
        .into_iter()
        .filter(|(name, function)| {
            let (in_text, by_reference) = (format!("${{{}}}", alias(name)), format!(r#"{{"Ref":"{}"}}"#, alias(name)));
            let is_asked = asked_by_the_api.contains(&in_text) || asked_by_the_api.contains(&by_reference);
            assert_eq!(is_asked, behind_the_api(function), "{name}");
            !is_asked
        })
        .map(|(name, _)| name)
        .collect();
    assert_eq!(
        others,
        [
            "lab-stream",      // a URL of its own; not there in production
            "migrate",         // run by the deployment itself, which ends when it fails
            "on-email", // messages that it fails come again, and its own alarm (infra/monitoring.yaml) tells of it
            "on-notification", // the same
            "on-report", // the same
            "outbox-relay", // the same: what it does not send it sends later
            "products-export", // a URL of its own, for staff only
        ]
        .map(str::to_owned)
        .into()
    );
}

/// The alias shifts to a version of the function, the function waits for the migration, and that for its own function's
/// new code.
#[test]
fn migrations_are_done_before_requests_move() {
    let resources = resources(&template());
    let version_of = |name: &str| {
        let alias = &resources[&alias(name)]["Properties"];
        assert_eq!(alias["FunctionName"]["Ref"], pascal(name), "{name}");
        let version = alias["FunctionVersion"]["Fn::GetAtt"][0].as_str().unwrap().to_owned();
        assert_eq!(resources[&version]["Properties"]["FunctionName"]["Ref"], pascal(name), "{name}");
        version
    };
    let migration = &resources["Migration"]["Properties"];
    assert_eq!(
        migration["ServiceToken"],
        json!({ "Fn::GetAtt": ["Migrate", "Arn"] }),
        "not the alias, which comes later"
    );
    assert_eq!(migration["Release"], json!({ "Ref": version_of("migrate") }));
    for (name, function) in declared() {
        let _ = version_of(&name);
        let uses_a_database = ["SOUK_MYSQL_ENDPOINT", "SOUK_MONGODB_ENDPOINT"];
        let uses_a_database = uses_a_database.iter().any(|variable| function.environment.contains(*variable));
        let waits = resources[&pascal(&name)]["DependsOn"] == "Migration";
        assert_eq!(waits, uses_a_database && name != "migrate", "{name}");
    }
}

/// SAM makes a version when a function's code, memory or variables differ in the template. For all else that a version holds, the variable
/// `SOUK_RELEASE` is a fingerprint: a change of one of these comes with a change of the variable, and every function gets a version.
#[test]
fn the_variable_for_releases_is_the_fingerprint_of_what_makes_no_version() {
    let template: serde_yaml_ng::Value = serde_yaml_ng::from_str(&template()).unwrap();
    let function = &template["Globals"]["Function"];
    let mut held = Vec::new();
    for property in
        ["Architectures", "Handler", "Layers", "LoggingConfig", "Runtime", "Timeout", "Tracing", "VpcConfig"]
    {
        let value = serde_yaml_ng::to_string(&function[property]).unwrap();
        held.extend(format!("{property}: {value}").into_bytes());
    }
    held.extend(fs::read(repository().join("infra/certificates/rds.pem")).unwrap());
    let digest = digest(&SHA256, &held);
    let [a, b, c, d, ..] = digest.as_ref() else { panic!("a digest is longer") };
    let fingerprint = format!("{:08x}", u32::from_be_bytes([*a, *b, *c, *d]));
    let variable = function["Environment"]["Variables"]["SOUK_RELEASE"].as_str().unwrap();
    assert_eq!(variable, fingerprint, "write the right one into template.yaml");
}

#[test]
fn another_value_of_the_variable_for_releases_makes_a_version_of_every_function() {
    let versions = |template: &str| -> BTreeSet<String> {
        let resources = resources(template);
        let versions = resources.iter().filter(|(_, resource)| resource["Type"] == "AWS::Lambda::Version");
        versions.map(|(id, _)| id.clone()).collect()
    };
    let as_it_is = versions(&template());
    let variable = "SOUK_RELEASE: \"";
    assert!(template().contains(variable));
    assert!(as_it_is.is_disjoint(&versions(&template().replace(variable, &format!("{variable}0")))));
    // What a version holds and does not make.
    for (found, changed) in [("    Timeout: 10\n", "    Timeout: 11\n"), ("Tracing: Active", "Tracing: PassThrough")] {
        assert!(template().contains(found), "{found}");
        assert_eq!(versions(&template().replacen(found, changed, 1)), as_it_is, "{changed}");
    }
}

/// `delivery.rs` deploys the template like this, with no other difference.
#[test]
fn without_its_gradual_part_the_template_lacks_what_code_deploy_does_and_nothing_else() {
    let gradual = resources(&template());
    let at_once = resources(&template().replace("IsGradual: true", "IsGradual: false"));
    for (id, resource) in &gradual {
        let kind = resource["Type"].as_str().unwrap();
        let mut rest = resource.clone();
        if let Some(properties) = rest.as_object_mut().filter(|_| kind == "AWS::Lambda::Alias") {
            properties.remove("UpdatePolicy");
        }
        let is_code_deploy = CODE_DEPLOY.contains(&kind);
        assert_eq!(at_once.get(id), Some(&rest).filter(|_| !is_code_deploy), "{id}");
    }
    assert!(at_once.keys().all(|id| gradual.contains_key(id)));
}
