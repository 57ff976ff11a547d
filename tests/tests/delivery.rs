//! Releases to AWS: delivery, failure and rollback, and the permission for them.
//!
//! Real in `releases_arrive_fail_and_go_back`: `cargo xtask deploy`, SAM, change sets and CloudFormation's handling of
//! them, migrations on a database of their own, the smoke test's requests through the API, the rollback.
//! `template.yaml` is deployed with the production settings of `samconfig.toml`, from a copy of the checkout
//! ([`Checkout::deployable`]) in which
//!
//! - all requests shift at once, since the stage's AWS has no `CodeDeploy` (`canary.rs` covers that part;
//!   CloudFormation rolls back after an alarm as after a failed migration, and `cargo xtask deploy` is told the same);
//! - parameters that SAM itself reads are defaults too, since the stage's AWS tells it nothing else;
//! - the output `ApiUrl` is where the stage's AWS serves an API;
//! - a function that is not called here is a file of a few bytes: compressing all of them takes half a minute per
//!   deployment.
//!
//! The test creates the routes after the first deployment, since the stage's AWS creates none. So that one fails its
//! smoke test.

use std::{
    fs,
    os::unix::fs::{PermissionsExt, symlink},
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

use serde_json::{Value, json};
use serde_yaml_ng::Value as Yaml;
use tests::{
    Stage, aws,
    cloudformation::Evaluated,
    database::{Database, migrations},
    declared::{Declared, declared},
    stack::Stack,
    template::repository,
};

/// The environment's name: the name of its stack, and part of its parameters and secrets.
const REHEARSAL: &str = "rehearsal";
/// The functions that the smoke test or the deployment itself calls.
const CALLED: [&str; 6] = ["auth-jwks", "authorizer", "health", "health-ready", "migrate", "products-list"];
/// The API's own name.
const DOMAIN: &str = "api.souk.example";
/// The function whose code the releases change.
const CHANGED: &str = "products-list";

/// The files of a checkout that `cargo xtask deploy` reads, in a directory that is removed at the end.
struct Checkout {
    root: PathBuf,
}

impl Checkout {
    /// A checkout for dry runs only.
    fn new(name: &str) -> Self {
        let root = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        let _ = fs::remove_dir_all(&root);
        fs::create_dir_all(&root).unwrap();
        symlink(repository().join("infra"), root.join("infra")).unwrap();
        fs::copy(repository().join("samconfig.toml"), root.join("samconfig.toml")).unwrap();
        Self { root }
    }

    /// A checkout with the template and the functions, and with production's settings for the rehearsal, plus some
    /// parameters.
    fn deployable(parameters: &[(&str, &str)]) -> Self {
        let checkout = Self::new(REHEARSAL);
        symlink(repository().join(".local"), checkout.root.join(".local")).unwrap();
        let configuration = fs::read_to_string(repository().join("samconfig.toml")).unwrap();
        let more: Vec<String> = parameters.iter().map(|(name, value)| format!("    \"{name}={value}\",\n")).collect();
        let (before, usual) = configuration.split_once("[prod.deploy.parameters]\n").unwrap();
        let (usual, after) = usual.split_once("\n]\n").expect("its parameters, one a line");
        assert!(usual.contains("\"Stage=prod\",\n    \"Size=small\",\n"), "something else is deployed to production");
        let with_more = format!("{before}[prod.deploy.parameters]\n{usual}\n{}]\n{after}", more.concat());
        checkout.write("samconfig.toml", &with_more.replace("prod", REHEARSAL));
        checkout.write("template.yaml", &rehearsed(&fs::read_to_string(repository().join("template.yaml")).unwrap()));
        for name in declared().keys() {
            fs::create_dir_all(checkout.bootstrap(name).parent().unwrap()).unwrap();
            if CALLED.contains(&name.as_str()) {
                checkout.build(name, "");
            } else {
                fs::write(checkout.bootstrap(name), format!("{name}: nobody calls it")).unwrap();
            }
        }
        checkout
    }

    fn write(&self, file: &str, content: &str) {
        fs::write(self.root.join(file), content).unwrap();
    }

    fn bootstrap(&self, function: &str) -> PathBuf {
        self.root.join("target/lambda").join(function).join("bootstrap")
    }

    /// Adds a function's code. Trailing bytes make it different code with the same behaviour.
    fn build(&self, function: &str, behind: &str) {
        let built = fs::read(repository().join("target/lambda").join(function).join("bootstrap")).unwrap();
        self.put(function, &[&built, behind.as_bytes()].concat());
    }

    fn put(&self, function: &str, code: &[u8]) {
        let bootstrap = self.bootstrap(function);
        fs::write(&bootstrap, code).unwrap();
        fs::set_permissions(&bootstrap, fs::Permissions::from_mode(0o755)).unwrap();
    }

    fn deploy(&self, arguments: &[&str]) -> Deployment {
        let mut command = Stage::xtask(&self.root);
        command.arg("deploy").args(arguments).stdin(Stdio::null()).env("SMOKE_TEST_TRIES", "1");
        Deployment::of(&command.output().unwrap())
    }

    fn git(&self, arguments: &[&str]) {
        let mut command = Command::new("git");
        command.args(["-c", "user.name=Test", "-c", "user.email=test@souk.example"]).args(arguments);
        assert!(command.current_dir(&self.root).stdout(Stdio::null()).status().unwrap().success(), "{arguments:?}");
    }
}

impl Drop for Checkout {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.root);
    }
}

/// The output and the success of a deployment.
#[derive(Debug)]
struct Deployment {
    succeeded: bool,
    results: String,
    progress: String,
}

impl Deployment {
    fn of(output: &Output) -> Self {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Self { succeeded: output.status.success(), results: text(&output.stdout), progress: text(&output.stderr) }
    }

    /// The last line of a failed deployment: its error.
    fn error(&self) -> &str {
        assert!(!self.succeeded, "{self:#?}");
        let (_, error) = self.progress.trim_end().rsplit_once("\nerror: ").expect("an error, at the end");
        error
    }
}

/// The template, adapted for the rehearsal.
fn rehearsed(template: &str) -> String {
    let architecture = if cfg!(target_arch = "aarch64") { "arm64" } else { "x86_64" };
    let mut text = template.to_owned();
    for (parameter, value) in [("Stage", REHEARSAL), ("Size", "small"), ("Architecture", architecture)] {
        let (before, after) = text.split_once(&format!("\n  {parameter}:\n")).unwrap();
        let (head, rest) = after.split_once("    Default: ").unwrap();
        let (_, tail) = rest.split_once('\n').unwrap();
        text = format!("{before}\n  {parameter}:\n{head}    Default: {value}\n{tail}");
    }
    let address = format!("{}/_aws/execute-api/${{Api}}/$default", Stage::get().aws_endpoint);
    for (usual, here) in [
        ("IsGradual: true", "IsGradual: false"),
        ("https://${Api}.execute-api.${AWS::Region}.${AWS::URLSuffix}", address.as_str()),
        ("https://${DomainName}", address.as_str()),
    ] {
        assert!(text.contains(usual), "the template has no {usual}");
        text = text.replace(usual, here);
    }
    text
}

/// The output of the stores stack and of `cargo xtask deploy`, under the rehearsal's name. The servers are the stage's,
/// but MySQL's, MongoDB's and Redis's databases are separate, so that tests of the API do not interfere.
struct Handover {
    parameters: Vec<String>,
    secrets: Vec<String>,
}

impl Handover {
    fn make(database: &Database) -> Self {
        let mut handover = Self { parameters: Vec::new(), secrets: Vec::new() };
        for name in ["email/address", "email/sender", "google/client-id", "google/issuer", "google/jwks-url"] {
            handover.parameter(name, &parameter(&format!("/souk/local/{name}")));
        }
        handover.parameter("token/public-keys", &parameter("/souk/local/token/public-keys"));
        handover.parameter("mysql/endpoint", &database.endpoint);
        for (store, here, there) in [("mongodb", "/souk?", "/souk_rehearsal?"), ("redis", "/0", "/1")] {
            let name = format!("{store}/endpoint");
            let address = parameter(&format!("/souk/local/{name}"));
            assert!(address.contains(here), "{address}");
            handover.parameter(&name, &address.replace(here, there));
        }
        for name in ["subnet-1", "subnet-2", "subnet-3"] {
            handover.parameter(&format!("network/{name}"), "subnet-0123456789abcdef0");
        }
        handover.parameter("network/security-group", "sg-0123456789abcdef0");
        for name in ["mac-key", "mongodb", "mysql", "mysql-admin", "redis", "redis-revocation", "token-signing-key"] {
            let there = json!({ "SecretId": format!("souk/local/{name}") });
            let secret = aws::json_call("secretsmanager", "secretsmanager.GetSecretValue", &there);
            let here = format!("souk/{REHEARSAL}/{name}");
            let body = json!({ "Name": here, "SecretString": secret["SecretString"] });
            let _ = aws::json_call("secretsmanager", "secretsmanager.CreateSecret", &body);
            handover.secrets.push(here);
        }
        handover
    }

    fn parameter(&mut self, name: &str, value: &str) {
        let name = format!("/souk/{REHEARSAL}/{name}");
        let body = json!({ "Name": name, "Value": value, "Type": "String", "Overwrite": true });
        let _ = aws::json_call("ssm", "AmazonSSM.PutParameter", &body);
        self.parameters.push(name);
    }

    fn remove(self) {
        let _ = aws::json_call("ssm", "AmazonSSM.DeleteParameters", &json!({ "Names": self.parameters }));
        for secret in self.secrets {
            let body = json!({ "SecretId": secret, "ForceDeleteWithoutRecovery": true });
            let _ = aws::json_call("secretsmanager", "secretsmanager.DeleteSecret", &body);
        }
    }
}

fn parameter(name: &str) -> String {
    let reply = aws::json_call("ssm", "AmazonSSM.GetParameter", &json!({ "Name": name }));
    reply["Parameter"]["Value"].as_str().unwrap().to_owned()
}

/// The live version of a function.
fn live(function: &str) -> String {
    let alias = format!("/2015-03-31/functions/souk-{REHEARSAL}-{function}/aliases/live");
    aws::call("lambda", "GET", &alias, None)["FunctionVersion"].as_str().unwrap().to_owned()
}

/// The rehearsal's API, and the routes that the smoke test calls.
struct Api {
    path: String,
    url: String,
}

impl Api {
    fn with_routes() -> Self {
        let id = parameter(&format!("/souk/{REHEARSAL}/api/id"));
        let url = format!("{}/_aws/execute-api/{id}/$default", Stage::get().aws_endpoint);
        let api = Self { path: format!("/v2/apis/{id}"), url };
        let authorizer = api.make(
            "authorizers",
            &json!({
                "name": "Tokens", "authorizerType": "REQUEST", "authorizerPayloadFormatVersion": "2.0",
                "enableSimpleResponses": true, "identitySource": ["$request.header.Authorization"],
                "authorizerUri": format!(
                    "arn:aws:apigateway:{}:lambda:path/2015-03-31/functions/{}:live/invocations",
                    Stage::get().region, arn("authorizer")
                ),
            }),
        );
        for (route, function) in [
            ("GET /health", "health"),
            ("GET /health/ready", "health-ready"),
            ("GET /.well-known/jwks.json", "auth-jwks"),
            ("GET /v1/products", CHANGED),
            ("GET /v1/users/me", "users-me-get"),
        ] {
            let uri = format!("{}:live", arn(function));
            let integration = json!({
                "integrationType": "AWS_PROXY", "integrationUri": uri, "payloadFormatVersion": "2.0",
            });
            let target = format!("integrations/{}", text(&api.make("integrations", &integration), "integrationId"));
            let mut route = json!({ "routeKey": route, "target": target });
            if function == "users-me-get" {
                route["authorizationType"] = json!("CUSTOM");
                route["authorizerId"] = authorizer["authorizerId"].clone();
            }
            let _ = api.make("routes", &route);
        }
        api
    }

    fn make(&self, kind: &str, body: &Value) -> Value {
        aws::call("apigateway", "POST", &format!("{}/{kind}", self.path), Some(body))
    }

    /// The status of the function's replies.
    fn status(&self) -> u16 {
        Stage::get().agent.get(format!("{}/v1/products?limit=1", self.url)).call().unwrap().status().as_u16()
    }
}

fn arn(function: &str) -> String {
    let configuration = format!("/2015-03-31/functions/souk-{REHEARSAL}-{function}/configuration");
    text(&aws::call("lambda", "GET", &configuration, None), "FunctionArn")
}

fn text(value: &Value, name: &str) -> String {
    value[name].as_str().unwrap_or_else(|| panic!("no {name}: {value}")).to_owned()
}

/// The prerequisites of a custom domain: a zone and a certificate.
fn zone() -> Stack {
    let resource = |kind: &str, name: &str, value: &str| json!({ "Type": kind, "Properties": { name: value } });
    let template = json!({
        "Resources": {
            "Zone": resource("AWS::Route53::HostedZone", "Name", "souk.example"),
            "Certificate": resource("AWS::CertificateManager::Certificate", "DomainName", DOMAIN),
        },
        "Outputs": {
            "Zone": { "Value": { "Ref": "Zone" } },
            "Certificate": { "Value": { "Ref": "Certificate" } },
        },
    });
    let stack = Stack::new("zone");
    stack.create(&template.to_string(), &[]).unwrap();
    assert_eq!(stack.wait(), "CREATE_COMPLETE", "{}", stack.events());
    stack
}

/// The existing functions of the rehearsal.
fn functions() -> Vec<String> {
    let listed = aws::call("lambda", "GET", "/2015-03-31/functions/?MaxItems=10000", None);
    let names = listed["Functions"].as_array().unwrap().iter().map(|function| text(function, "FunctionName"));
    names.filter(|name| name.starts_with(&format!("souk-{REHEARSAL}-"))).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn releases_arrive_fail_and_go_back() {
    const DEPLOY: [&str; 4] = ["--env", REHEARSAL, "--yes", "--no-build"];
    let database = Database::create().await;
    let mut handover = Handover::make(&database);
    let zone = zone();
    let (id, certificate) = (zone.output("Zone"), zone.output("Certificate"));
    let parameters = [("DomainName", DOMAIN), ("HostedZoneId", &id), ("CertificateArn", &certificate)];
    let checkout = Checkout::deployable(&parameters);
    let stack = Stack::named(&format!("souk-{REHEARSAL}"));

    // The first deployment: everything is created and migrated. The API has no routes yet, and there is no earlier
    // version to roll back to.
    let first = checkout.deploy(&DEPLOY);
    assert_eq!(stack.wait(), "CREATE_COMPLETE", "{first:#?}");
    let no_way_back = "rollback failed: see its messages above, so what was deployed is still there: smoke test failed";
    assert!(first.error().starts_with(no_way_back), "{first:#?}");
    assert!(first.progress.contains("has a version before the one that is live"), "{first:#?}");
    assert_eq!(database.applied().await.len(), migrations());
    let is_in_production = |function: &&Declared| function.condition.is_none();
    assert_eq!(functions().len(), declared().values().filter(is_in_production).count());
    let health = format!("/2015-03-31/functions/souk-{REHEARSAL}-health/configuration");
    let health = aws::call("lambda", "GET", &health, None);
    assert_eq!(health["LoggingConfig"]["LogGroup"], format!("/souk/{REHEARSAL}/functions"));
    assert!(health["Layers"][0]["Arn"].as_str().unwrap().contains("store-certificates"), "{health}");
    let api = Api::with_routes();
    assert_eq!(api.status(), 200);
    let named = aws::call("apigateway", "GET", &format!("/v2/domainnames/{DOMAIN}/apimappings"), None);
    assert_eq!(format!("/v2/apis/{}", text(&named["items"][0], "apiId")), api.path);

    // New code for one function: only that one changes, and it stays, since everything answers.
    checkout.build(CHANGED, "2");
    let second = checkout.deploy(&DEPLOY);
    assert!(second.succeeded, "{second:#?}");
    assert_eq!(stack.wait(), "UPDATE_COMPLETE");
    assert_eq!((live(CHANGED), live("health")), ("2".to_owned(), "1".to_owned()));

    // The same once more: no changes.
    let same = checkout.deploy(&DEPLOY);
    assert!(same.succeeded && same.results.contains("No changes to deploy"), "{same:#?}");
    assert_eq!(live(CHANGED), "2");

    // Code that does not start: the smoke test notices, and the function is rolled back.
    checkout.put(CHANGED, b"#!/bin/sh\nexit 1\n");
    let broken = checkout.deploy(&DEPLOY);
    assert!(
        broken.error().starts_with("every function is back at the version before: smoke test failed"),
        "{broken:#?}"
    );
    assert!(broken.results.contains("/v1/products?limit=1: 502, and not 200"), "{broken:#?}");
    assert!(broken.results.ends_with("3 → 2\n1 functions went back\n"), "{broken:#?}");
    assert_eq!((live(CHANGED).as_str(), api.status()), ("2", 200));

    // A failing migration, on a database that does not exist: CloudFormation rolls everything back by itself.
    checkout.build("migrate", "2");
    checkout.build(CHANGED, "4");
    handover.parameter("mysql/endpoint", &format!("{}_2", database.endpoint));
    let failed = checkout.deploy(&DEPLOY);
    assert!(
        failed.error().starts_with("what CloudFormation had begun it has taken back: sam deploy failed"),
        "{failed:#?}"
    );
    assert!(!failed.progress.contains("smoke test") && !failed.progress.contains("rollback ("), "{failed:#?}");
    assert!(stack.events().contains("Unknown database"), "{}", stack.events());
    assert_eq!(stack.wait(), "UPDATE_ROLLBACK_COMPLETE");
    assert_eq!((live(CHANGED).as_str(), api.status()), ("2", 200));

    stack.delete();
    assert_eq!(stack.wait(), "gone", "{}", stack.events());
    assert_eq!(functions(), Vec::<String>::new());
    assert_eq!(database.applied().await.len(), migrations(), "the data stays");
    handover.remove();
    zone.delete();
}

#[test]
fn only_what_is_committed_goes_to_production() {
    const PRODUCTION: [&str; 3] = ["--env", "prod", "--dry-run"];
    let checkout = Checkout::new("committed");
    checkout.git(&["init", "--quiet"]);
    checkout.git(&["add", "--all"]);
    checkout.git(&["commit", "--quiet", "--message", "Everything"]);
    let clean = checkout.deploy(&PRODUCTION);
    assert!(clean.succeeded, "{clean:#?}");
    let commands: Vec<&str> = clean.results.lines().filter_map(|line| line.split(" --region").next()).collect();
    assert_eq!(commands.len(), 4, "{clean:#?}");
    assert!(commands[0].starts_with("cargo-lambda lambda build --release"), "{clean:#?}");
    assert!(commands[1].ends_with("token_keys.py prod"), "{clean:#?}");
    assert_eq!(commands[2], "sam deploy --config-file samconfig.toml --config-env prod");
    assert!(commands[3].ends_with("smoke_test.py souk-prod"), "{clean:#?}");

    checkout.write("new.rs", "");
    for (changed, content) in
        [("new.rs", ""), ("samconfig.toml", "[prod.deploy.parameters]\n[staging.deploy.parameters]\n")]
    {
        checkout.write(changed, content);
        let refused = checkout.deploy(&PRODUCTION);
        assert!(refused.error().starts_with("only what is committed is deployed to prod"), "{refused:#?}");
        assert!(refused.error().contains(changed) && refused.results.is_empty(), "{refused:#?}");
    }
    // A dry run of another environment is allowed.
    assert!(checkout.deploy(&["--env", "staging", "--dry-run"]).succeeded);
}

#[test]
fn the_stores_are_protected_once_they_are_there_and_cloudformation_is_handed_its_role() {
    let checkout = Checkout::new("stores");
    let mut command = Stage::xtask(&checkout.root);
    command.args(["deploy", "stores", "--env", "staging", "--dry-run"]).env("AWS_CLOUDFORMATION_ROLE_ARN", "arn:role");
    let said = Deployment::of(&command.output().unwrap());
    assert!(said.succeeded, "{said:#?}");
    let [doctor, sam, protect] = said.results.lines().collect::<Vec<_>>()[..] else { panic!("{said:#?}") };
    assert!(doctor.ends_with("doctor.py staging"), "{said:#?}");
    assert!(sam.starts_with("sam deploy --config-file samconfig.toml --config-env staging-stores"), "{said:#?}");
    assert!(sam.ends_with(" --role-arn arn:role"), "{said:#?}");
    assert!(protect.ends_with("protect.py staging"), "{said:#?}");
}

#[test]
fn an_environment_that_nobody_has_described_is_refused() {
    let refused = Checkout::new("described").deploy(&["--env", "nowhere", "--yes"]);
    let known = "samconfig.toml has no section for `nowhere`; it has: staging-stores, staging, staging-monitoring, ";
    assert!(refused.error().starts_with(known), "{refused:#?}");
    assert!(refused.results.is_empty(), "{refused:#?}");
}

fn workflow(name: &str) -> Yaml {
    let text = fs::read_to_string(repository().join(".github/workflows").join(name)).unwrap();
    serde_yaml_ng::from_str(&text).unwrap()
}

/// Every value of a key, at any depth.
fn under<'a>(key: &str, value: &'a Yaml, found: &mut Vec<&'a Yaml>) {
    match value {
        Yaml::Mapping(members) => {
            found.extend(members.get(key));
            members.values().for_each(|member| under(key, member, found));
        }
        Yaml::Sequence(items) => items.iter().for_each(|item| under(key, item, found)),
        _ => {}
    }
}

fn all<'a>(key: &str, value: &'a Yaml) -> Vec<&'a Yaml> {
    let mut found = Vec::new();
    under(key, value, &mut found);
    found
}

/// `cargo xtask deploy` fails when the smoke test does, and a failed job stops the jobs that need it, by default.
#[test]
fn production_waits_for_a_staging_that_passed_its_smoke_test() {
    let deploy = workflow("deploy.yml");
    assert_eq!(deploy["on"], serde_yaml_ng::from_str::<Yaml>("push: { branches: [main] }").unwrap());
    let jobs = &deploy["jobs"];
    for (job, needs) in [("production", "staging"), ("staging", "build"), ("build", "check")] {
        assert_eq!(jobs[job]["needs"], needs, "{job}");
    }
    assert_eq!(jobs["check"]["uses"], "./.github/workflows/check.yml");
    assert_eq!(all("run", &workflow("check.yml")).last().unwrap().as_str(), Some(".ci/run"));
    for (job, environment) in [("staging", "staging"), ("production", "prod")] {
        let job = &jobs[job];
        assert_eq!(job["environment"], environment);
        let steps: Vec<&Yaml> = job["steps"].as_sequence().unwrap().iter().rev().take(2).collect();
        let environments = "${{ github.job == 'production' && 'prod' || 'staging' }}";
        for (step, command) in steps.iter().zip([
            r#"cargo xtask deploy monitoring --env "$ENVIRONMENT" --yes"#,
            r#"cargo xtask deploy --env "$ENVIRONMENT" --no-build --yes"#,
        ]) {
            assert_eq!(step["run"], command);
            assert_eq!(step["env"]["ENVIRONMENT"], environments);
            assert_eq!(step["env"]["AWS_CLOUDFORMATION_ROLE_ARN"], "${{ vars.AWS_CLOUDFORMATION_ROLE_ARN }}");
        }
    }
    for otherwise in ["if", "continue-on-error"] {
        assert!(all(otherwise, &deploy).is_empty(), "{otherwise}");
    }
    assert_eq!(deploy["concurrency"]["group"], "deploy", "one after the other");
}

/// A deployment that waits for its approval holds its group, and a further push takes the place of what is queued behind it.
#[test]
fn a_rollback_waits_for_no_deployment() {
    let groups = ["deploy.yml", "rollback.yml"].map(|name| workflow(name)["concurrency"]["group"].clone());
    assert_ne!(groups[0], groups[1]);
    assert_eq!(workflow("rollback.yml")["concurrency"]["cancel-in-progress"], false);
}

/// A tag can be moved to other code, a commit cannot.
#[test]
fn every_action_of_a_workflow_is_a_commit() {
    let mut actions = 0;
    for file in fs::read_dir(repository().join(".github/workflows")).unwrap() {
        let text = fs::read_to_string(file.unwrap().path()).unwrap();
        for line in text.lines().filter(|line| line.contains("uses: ") && !line.contains("uses: ./")) {
            let (_, commit) = line.split_once('@').unwrap();
            let (commit, version) = commit.split_once(" # v").unwrap_or_else(|| panic!("which version is {line}?"));
            assert!(commit.len() == 40 && commit.bytes().all(|byte| byte.is_ascii_hexdigit()), "{line}");
            assert!(version.starts_with(|digit: char| digit.is_ascii_digit()), "{line}");
            actions += 1;
        }
    }
    assert!(actions > 5);
}

/// `.ci/run` installs Debian's packages of the servers. Another system brings some of its own.
#[test]
fn the_checks_run_on_the_system_that_their_script_is_for() {
    let script = fs::read_to_string(repository().join(".ci/run")).unwrap();
    assert!(script.contains("assumes Debian 12"));
    assert_eq!(workflow("check.yml")["jobs"]["check"]["container"], "debian:12");
}

#[test]
fn a_rollback_is_begun_by_a_person() {
    let rollback = workflow("rollback.yml");
    let triggers: Vec<&Yaml> = rollback["on"].as_mapping().unwrap().keys().collect();
    assert_eq!(triggers, ["workflow_dispatch"]);
    assert_eq!(rollback["jobs"]["rollback"]["environment"], "${{ inputs.environment }}");
}

#[test]
fn no_workflow_has_a_key_and_only_those_that_deploy_have_an_identity() {
    let mut with_identity = Vec::new();
    for file in fs::read_dir(repository().join(".github/workflows")).unwrap() {
        let name = file.unwrap().file_name().into_string().unwrap();
        let text = fs::read_to_string(repository().join(".github/workflows").join(&name)).unwrap();
        for key in ["secrets.", "secrets:", "aws-access-key-id", "aws-secret-access-key", "AWS_ACCESS_KEY_ID"] {
            assert!(!text.contains(key), "{name}: {key}");
        }
        let workflow = workflow(&name);
        for (job, definition) in workflow["jobs"].as_mapping().unwrap() {
            let steps = definition["steps"].as_sequence().into_iter().flatten();
            let signs_in = |step: &&Yaml| {
                step["uses"].as_str().is_some_and(|action| action.starts_with("aws-actions/configure-aws-credentials@"))
            };
            let sign_ins: Vec<&Yaml> = steps.filter(signs_in).map(|step| &step["with"]).collect();
            let given = if definition["permissions"].is_null() { &workflow } else { definition };
            assert_eq!(given["permissions"]["id-token"] == "write", !sign_ins.is_empty(), "{name}: {job:?}");
            let by_role = "{ role-to-assume: '${{ vars.AWS_ROLE_ARN }}', aws-region: '${{ vars.AWS_REGION }}' }";
            let by_role: Yaml = serde_yaml_ng::from_str(by_role).unwrap();
            assert!(sign_ins.iter().all(|with| **with == by_role), "{name}: {job:?}");
            with_identity.extend((!sign_ins.is_empty()).then(|| job.as_str().unwrap().to_owned()));
        }
    }
    with_identity.sort();
    assert_eq!(with_identity, ["production", "rollback", "staging"]);
}

/// The role is for this repository's jobs in one environment, and has no permanent key.
#[test]
fn the_role_trusts_the_jobs_of_one_environment() {
    let subjects = [
        // Of a repository that was made or renamed since 15 July 2026, and of an older one:
        // https://github.blog/changelog/2026-04-23-immutable-subject-claims-for-github-actions-oidc-tokens
        (
            [("OwnerId", "123456"), ("RepositoryId", "456789")].as_slice(),
            "repo:octocat@123456/my-repo@456789:environment:staging",
        ),
        (&[], "repo:octocat/my-repo:environment:staging"),
    ];
    for (ids, subject) in subjects {
        let parameters = [("Stage", "staging"), ("Repository", "octocat/my-repo")];
        let parameters = parameters.iter().chain(ids).map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        let delivery = Evaluated::read("infra/delivery/github.yaml", &parameters.collect());
        for kind in ["AWS::IAM::User", "AWS::IAM::AccessKey"] {
            assert_eq!(delivery.of_type(kind).count(), 0, "{kind}");
        }
        let trusted = |id: &str| {
            let trust = &delivery.resources[id]["Properties"]["AssumeRolePolicyDocument"]["Statement"];
            assert_eq!(trust.as_array().unwrap().len(), 1);
            trust[0].clone()
        };
        assert_eq!(delivery.of_type("AWS::IAM::Role").count(), 2);
        assert_eq!(trusted("CloudFormationRole")["Principal"], json!({ "Service": "cloudformation.amazonaws.com" }));
        let job = trusted("Role");
        assert_eq!(job["Action"], "sts:AssumeRoleWithWebIdentity");
        let token = |claim: &str| format!("token.actions.githubusercontent.com:{claim}");
        let only = json!({ "StringEquals": { token("aud"): "sts.amazonaws.com", token("sub"): subject } });
        assert_eq!(job["Condition"], only);
    }
}
