//! Canary deployment: an alarm rolls it back while requests shift to new code.
//!
//! The stage's AWS has no `CodeDeploy`, which does that. So the test checks what SAM makes of `template.yaml` with the
//! settings of production, which CloudFormation hands to `CodeDeploy`. `delivery.rs` checks that a rollback by
//! CloudFormation counts as a failure.

use std::{
    collections::BTreeSet,
    fs,
    io::Write,
    process::{Command, Stdio},
};

use serde_json::{Map, Value, json};
use tests::{
    declared::{Declared, Trigger, declared, pascal},
    template::repository,
};

/// The alarm on failed requests: its name is all that `CodeDeploy` knows of it.
const ALARM: &str = "souk-${Stage}-api-faults";

/// Types that only a gradual deployment needs. `production.rs` checks that the stage does not know them.
const CODE_DEPLOY: [&str; 2] = ["AWS::CodeDeploy::Application", "AWS::CodeDeploy::DeploymentGroup"];

/// Every resource that CloudFormation creates from a template.
fn resources(template: &str) -> Map<String, Value> {
    let python = repository().join(".local/tools/bin/python");
    let mut sam = Command::new(python);
    sam.arg(repository().join("tests/sam_transform.py")).args(["Stage=prod", "Size=small", "Lab=on"]);
    let mut sam = sam.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    sam.stdin.take().unwrap().write_all(template.as_bytes()).unwrap();
    let output = sam.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let transformed: Value = serde_json::from_slice(&output.stdout).unwrap();
    transformed["Resources"].as_object().unwrap().clone()
}

fn template() -> String {
    fs::read_to_string(repository().join("template.yaml")).unwrap()
}

/// A function's resources are prefixed with its name.
fn alias(function: &str) -> String {
    format!("{}Aliaslive", pascal(function))
}

fn behind_the_api(function: &Declared) -> bool {
    matches!(function.trigger, Trigger::Http { .. })
}

#[test]
fn every_function_moves_little_by_little_and_goes_back_when_the_alarm_goes_off() {
    let resources = resources(&template());
    let application = json!({ "Ref": "ServerlessDeploymentApplication" });
    assert_eq!(resources["ServerlessDeploymentApplication"]["Properties"]["ComputePlatform"], "Lambda");
    for name in declared().keys() {
        let group_name = format!("{}DeploymentGroup", pascal(name));
        let alias = &resources[&alias(name)];
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
}

/// The alarm counts the API's replies: it covers every function that replies there through its alias, and no other.
#[test]
fn the_alarm_watches_the_api_that_asks_the_aliases() {
    let resources = resources(&template());
    let named = |resource: &&Value| resource["Properties"]["AlarmName"]["Fn::Sub"] == ALARM;
    let alarm = resources.values().find(named).expect("the alarm that the deployments name");
    let watched = &alarm["Properties"];
    assert_eq!((&watched["Namespace"], &watched["MetricName"]), (&json!("AWS/ApiGateway"), &json!("5xx")));
    assert_eq!(watched["Dimensions"], json!([{ "Name": "ApiId", "Value": { "Ref": "Api" } }]));

    let asked_by_the_api = resources["Api"]["Properties"]["Body"]["paths"].to_string();
    let others: BTreeSet<String> = declared()
        .into_iter()
        .filter(|(name, function)| {
            let is_asked = asked_by_the_api.contains(&format!("${{{}}}", alias(name)));
            assert_eq!(is_asked, behind_the_api(function), "{name}");
            !is_asked
        })
        .map(|(name, _)| name)
        .collect();
    assert_eq!(
        others,
        [
            "authorizer",      // asked by the API under its own name; when it fails, requests are answered 500
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
        let is_code_deploy = CODE_DEPLOY.contains(&kind) || id == "CodeDeployServiceRole";
        assert_eq!(at_once.get(id), Some(&rest).filter(|_| !is_code_deploy), "{id}");
    }
    assert!(at_once.keys().all(|id| gradual.contains_key(id)));
}
