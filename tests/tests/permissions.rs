//! Permissions in an AWS account: that the roles which deploy (`infra/delivery/github.yaml`) may do all that CloudFormation does for the
//! stacks and nothing else, that no role can give itself more, and what the roles of the functions need beyond what their contract says.
//!
//! The stage's AWS is blind to this: it deploys as the account's owner. So the policies are compared with what AWS says its handlers call
//! (`tests/data/cloudformation.json`).

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
};

use serde_json::Value;
use tests::{
    cloudformation::{Evaluated, parameters_of},
    template::repository,
};

/// The environment that is looked at: the template with everything that a parameter can add.
const STAGE: &str = "prod";
const ACCOUNT: &str = "eu-central-1:123456789012";

/// What a handler calls only for a property that no resource has.
const OF_PROPERTIES: [(&str, &str); 21] = [
    ("elasticfilesystem:DescribeMountTargets", "FileSystemConfigs"),
    ("firehose:TagDeliveryStream", "DataProtectionPolicy"),
    ("kms:CreateGrant", "KmsKeyArn"),
    ("kms:Decrypt", "KmsKeyArn"),
    ("kms:Encrypt", "KmsKeyArn"),
    ("kms:GenerateDataKey", "KmsKeyArn"),
    ("lambda:DeleteFunctionCodeSigningConfig", "CodeSigningConfigArn"),
    ("lambda:DeleteProvisionedConcurrencyConfig", "ProvisionedConcurrencyConfig"),
    ("lambda:GetCodeSigningConfig", "CodeSigningConfigArn"),
    ("lambda:PassCapacityProvider", "CapacityProviderConfig"),
    ("lambda:PutFunctionCodeSigningConfig", "CodeSigningConfigArn"),
    ("lambda:PutFunctionRecursionConfig", "RecursiveLoop"),
    ("lambda:PutFunctionScalingConfig", "FunctionScalingConfig"),
    ("lambda:PutProvisionedConcurrencyConfig", "ProvisionedConcurrencyConfig"),
    ("lambda:PutRuntimeManagementConfig", "RuntimeManagementConfig"),
    ("logs:AssociateKmsKey", "KmsKeyId"),
    ("logs:DeleteDataProtectionPolicy", "DataProtectionPolicy"),
    ("logs:DisassociateKmsKey", "KmsKeyId"),
    ("logs:PutDataProtectionPolicy", "DataProtectionPolicy"),
    ("s3:GetObjectVersion", "S3ObjectVersion"),
    ("sns:PutDataProtectionPolicy", "DataProtectionPolicy"),
];
/// Named by handlers, and no actions of IAM.
const NO_ACTIONS: [&str; 2] = ["apigateway:TagResource", "s3:REST.PUT.OBJECT"];
/// A handler may take a boundary away; this role may not, and no template does.
const NEVER: [&str; 1] = ["iam:DeleteRolePermissionsBoundary"];

/// What CloudFormation does that no handler's list names.
const BESIDE_HANDLERS: [&str; 6] = [
    "codedeploy:RegisterApplicationRevision", // what an alias moves by is a revision
    "logs:DeleteLogDelivery",                 // the access logs of the API, by its own page
    "logs:GetLogDelivery",
    "logs:ListLogDeliveries",
    "logs:UpdateLogDelivery",
    "secretsmanager:GetSecretValue", // dynamic references
];

/// The most that there can be in the stacks that a job deploys.
fn deployed_by_jobs() -> Vec<Evaluated> {
    let mut parameters = parameters_of(STAGE);
    for (name, value) in [
        ("Lab", "on"),
        ("Traces", "cloudwatch"),
        ("RouteMetrics", "on"),
        ("AllowedOrigins", "https://shop.example"),
        ("DomainName", "api.souk.example"),
        ("CertificateArn", "arn:aws:acm:eu-central-1:123456789012:certificate/1"),
        ("HostedZoneId", "Z123"),
    ] {
        let _ = parameters.insert(name.to_owned(), value.to_owned());
    }
    let monitoring = parameters_of(&format!("{STAGE}-monitoring"));
    vec![Evaluated::read("template.yaml", &parameters), Evaluated::read("infra/monitoring.yaml", &monitoring)]
}

fn delivery() -> Evaluated {
    Evaluated::read("infra/delivery/github.yaml", &delivery_parameters())
}

fn delivery_parameters() -> BTreeMap<String, String> {
    let pairs = [("Stage", STAGE), ("Repository", "octocat/souk"), ("HostedZoneId", "Z123")];
    pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).into()
}

struct Data(Value);

impl Data {
    fn read() -> Self {
        let text = fs::read_to_string(repository().join("tests/data/cloudformation.json")).unwrap();
        Self(serde_json::from_str(&text).unwrap())
    }

    /// What the handlers of a type call.
    fn called_for(&self, kind: &str) -> BTreeSet<String> {
        let handlers = self.0["types"][kind].as_object().unwrap_or_else(|| panic!("nothing is known of {kind}"));
        let handlers = handlers.iter().filter(|(name, _)| *name != "source").map(|(_, actions)| actions);
        handlers.flat_map(texts).map(str::to_owned).collect()
    }

    fn is_unscoped(&self, kind: &str, action: &str) -> bool {
        // Of composite alarms only, says CloudWatch's page of actions.
        let of_composites = kind == "AWS::CloudWatch::CompositeAlarm" && action == "cloudwatch:DescribeAlarms";
        of_composites || texts(&self.0["unscoped"]).any(|unscoped| unscoped == action)
    }

    fn managed(&self, policy: &str) -> Vec<&str> {
        let name = policy.rsplit('/').next().unwrap();
        assert!(self.0["managed_policies"][name].is_array(), "nothing is known of {policy}");
        texts(&self.0["managed_policies"][name]).collect()
    }
}

/// A list of texts, or one.
fn texts(value: &Value) -> impl Iterator<Item = &str> {
    let one = value.as_str();
    one.into_iter().chain(value.as_array().into_iter().flatten().filter_map(Value::as_str))
}

/// What one statement allows.
#[derive(Clone)]
struct Statement {
    actions: Vec<String>,
    resources: Vec<String>,
    condition: Value,
}

#[derive(Clone)]
struct Policy(Vec<Statement>);

impl Policy {
    fn of_document(document: &Value) -> Self {
        let statements = document["Statement"].as_array().unwrap().iter().map(|statement| {
            assert_eq!(statement["Effect"], "Allow");
            Statement {
                actions: texts(&statement["Action"]).map(str::to_owned).collect(),
                resources: resources(&statement["Resource"]),
                condition: statement["Condition"].clone(),
            }
        });
        Self(statements.collect())
    }

    /// A role's own policies, and those that are put on it from beside.
    fn of_role(stack: &Evaluated, id: &str) -> Self {
        let role = &stack.resources[id];
        let own = role["Properties"]["Policies"].as_array().into_iter().flatten();
        let beside = ["AWS::IAM::Policy", "AWS::IAM::RolePolicy"].into_iter().flat_map(|kind| stack.of_type(kind));
        let is_this = |policy: &Value| {
            let roles = [&policy["Properties"]["RoleName"], &policy["Properties"]["Roles"]];
            roles.iter().any(|roles| {
                let roles = roles.as_array().map_or_else(|| vec![(*roles).clone()], Clone::clone);
                roles.iter().any(|role| role["Ref"] == id)
            })
        };
        let beside = beside.filter(|(_, policy)| is_this(policy)).map(|(_, policy)| &policy["Properties"]);
        let documents = own.chain(beside).map(|policy| &policy["PolicyDocument"]);
        Self(documents.flat_map(|document| Self::of_document(document).0).collect())
    }

    fn allows(&self, action: &str, resource: &str) -> bool {
        self.0.iter().any(|statement| {
            statement.actions.iter().any(|allowed| matches(allowed, action))
                && statement.resources.iter().any(|allowed| matches(allowed, resource))
        })
    }

    fn actions(&self) -> BTreeSet<String> {
        self.0.iter().flat_map(|statement| statement.actions.clone()).collect()
    }

    fn without(&self, action: &str) -> Self {
        let mut policy = self.clone();
        for statement in &mut policy.0 {
            statement.actions.retain(|allowed| allowed != action);
        }
        policy
    }
}

/// What a statement is about. What only a created resource can say becomes a name that nothing else has.
fn resources(value: &Value) -> Vec<String> {
    match value {
        Value::String(text) => vec![text.clone()],
        Value::Array(items) => items.iter().flat_map(resources).collect(),
        other => vec![other.to_string()],
    }
}

/// Whether a pattern of IAM's, with `*` and `?`, matches.
fn matches(pattern: &str, text: &str) -> bool {
    if !pattern.contains(['*', '?']) {
        return pattern == text;
    }
    match (pattern.chars().next(), text.chars().next()) {
        (None, None) => true,
        (Some('*'), _) => {
            let rest = &pattern[1..];
            (0..=text.len()).filter(|at| text.is_char_boundary(*at)).any(|at| matches(rest, &text[at..]))
        }
        (Some('?'), Some(other)) => matches(&pattern[1..], &text[other.len_utf8()..]),
        (Some(one), Some(other)) if one == other => matches(&pattern[one.len_utf8()..], &text[other.len_utf8()..]),
        _ => false,
    }
}

/// Where a call for a resource is made, as IAM sees it.
fn target(action: &str, id: &str, resource: &Value) -> String {
    let properties = &resource["Properties"];
    let named =
        |name: &str| properties[name].as_str().map_or_else(|| format!("souk-{STAGE}-{id}-1A2B3C"), str::to_owned);
    let (service, call) = action.split_once(':').unwrap();
    match (service, call) {
        ("lambda", "DeleteLayerVersion" | "GetLayerVersion") => {
            format!("arn:aws:lambda:{ACCOUNT}:layer:souk-{STAGE}-store-certificates:1")
        }
        ("lambda", "PublishLayerVersion") => format!("arn:aws:lambda:{ACCOUNT}:layer:{}", named("LayerName")),
        ("lambda", call) if call.ends_with("EventSourceMapping") => {
            format!("arn:aws:lambda:{ACCOUNT}:event-source-mapping:0a1b")
        }
        ("lambda", "InvokeFunction") => format!("arn:aws:lambda:{ACCOUNT}:function:souk-{STAGE}-migrate"),
        ("lambda", _) => {
            let name = properties["FunctionName"].as_str().unwrap_or("souk-prod-health");
            format!("arn:aws:lambda:{ACCOUNT}:function:{name}")
        }
        ("s3", _) => {
            format!("arn:aws:s3:::aws-sam-cli-managed-default-samclisourcebucket-1a/souk-{STAGE}/0123456789abcdef")
        }
        ("iam", _) => format!("arn:aws:iam::123456789012:role/souk-{STAGE}-{id}-1A2B3C"),
        ("sqs", _) => format!("arn:aws:sqs:{ACCOUNT}:{}", named("QueueName")),
        // A subscription is made at its topic, of which there is one.
        ("sns", _) => {
            format!("arn:aws:sns:{ACCOUNT}:{}", properties["TopicName"].as_str().unwrap_or("souk-prod-events"))
        }
        ("logs", _) => format!("arn:aws:logs:{ACCOUNT}:log-group:{}", named("LogGroupName")),
        ("apigateway", _) => "arn:aws:apigateway:eu-central-1::/apis/a1b2".to_owned(),
        ("cloudwatch", call) if call.contains("Dashboard") => {
            format!("arn:aws:cloudwatch::123456789012:dashboard/{}", named("DashboardName"))
        }
        ("cloudwatch", _) => format!("arn:aws:cloudwatch:{ACCOUNT}:alarm:{}", named("AlarmName")),
        ("codedeploy", "GetDeploymentConfig") => {
            format!("arn:aws:codedeploy:{ACCOUNT}:deploymentconfig:CodeDeployDefault.X")
        }
        ("codedeploy", call) if call.contains("Application") => {
            format!("arn:aws:codedeploy:{ACCOUNT}:application:souk-{STAGE}-ServerlessDeploymentApplication-1A")
        }
        ("codedeploy", _) => {
            format!(
                "arn:aws:codedeploy:{ACCOUNT}:deploymentgroup:souk-{STAGE}-ServerlessDeploymentApplication-1A/souk-{STAGE}-{id}"
            )
        }
        ("scheduler", _) => format!("arn:aws:scheduler:{ACCOUNT}:schedule/default/{}", named("Name")),
        ("ssm", _) => format!("arn:aws:ssm:{ACCOUNT}:parameter{}", named("Name")),
        ("route53", "GetChange") => "arn:aws:route53:::change/C1".to_owned(),
        ("route53", _) => format!("arn:aws:route53:::hostedzone/{}", named("HostedZoneId")),
        _ => panic!("where is {action} called?"),
    }
}

/// A call that CloudFormation makes for a resource.
struct Needed {
    /// Type and logical id.
    by: String,
    action: String,
    at: String,
}

/// All calls that create, read, change and delete the stacks.
fn needed(stacks: &[Evaluated], data: &Data) -> Vec<Needed> {
    let mut needed = Vec::new();
    for (id, resource) in stacks.iter().flat_map(|stack| &stack.resources) {
        let kind = resource["Type"].as_str().unwrap();
        for action in data.called_for(kind) {
            let is_of_nothing_here =
                |(of, property): &(&str, &str)| *of == action && resource["Properties"].get(property).is_none();
            let is_none = NO_ACTIONS.contains(&action.as_str()) || NEVER.contains(&action.as_str());
            if is_none || OF_PROPERTIES.iter().any(is_of_nothing_here) {
                continue;
            }
            let at = if data.is_unscoped(kind, &action) { "*".to_owned() } else { target(&action, id, resource) };
            needed.push(Needed { by: format!("{kind} {id}"), action, at });
        }
    }
    needed
}

/// What a policy lacks of it.
fn missing<'a>(policy: &Policy, needed: impl IntoIterator<Item = &'a Needed>) -> BTreeSet<String> {
    let everywhere = |statement: &&Statement| statement.resources.iter().any(|resource| resource == "*");
    let everywhere = Policy(policy.0.iter().filter(everywhere).cloned().collect());
    let is_missing = |call: &&Needed| {
        // An action that knows no resources is allowed by `*` alone, not by a pattern that begins like one.
        let policy = if call.at == "*" { &everywhere } else { policy };
        !policy.allows(&call.action, &call.at)
    };
    let missing = needed.into_iter().filter(is_missing);
    missing.map(|call| format!("{}: {} on {}", call.by, call.action, call.at)).collect()
}

#[test]
fn cloudformation_may_do_all_that_its_handlers_call_and_with_any_action_less_it_may_not() {
    let needed = needed(&deployed_by_jobs(), &Data::read());
    let policy = Policy::of_role(&delivery(), "CloudFormationRole");
    assert_eq!(missing(&policy, &needed), BTreeSet::new());
    for action in policy.actions() {
        let found = missing(&policy.without(&action), needed.iter().filter(|call| call.action == action));
        let is_beside = BESIDE_HANDLERS.contains(&action.as_str());
        assert_eq!(found.is_empty(), is_beside, "{action}: nothing fails without it, or more than was thought");
    }
}

/// The delivery role with the gaps that it once had, each planted by exchanging one text for another.
#[test]
fn planted_gaps_in_the_role_are_found() {
    let needed = needed(&deployed_by_jobs(), &Data::read());
    let original = fs::read_to_string(repository().join("infra/delivery/github.yaml")).unwrap();
    for (kind, found, planted, lacks) in [
        (
            "a schedule that has the name which SAM gives it",
            "schedule/default/souk-${Stage}-*",
            "schedule/default/other-${Stage}-*",
            "AWS::Scheduler::Schedule",
        ),
        (
            "a custom resource without the right to invoke it",
            "function:souk-${Stage}-migrate",
            "function:none",
            "Custom::Migration",
        ),
        (
            "a look at log groups that is limited to some",
            "                  - logs:DescribeLogGroups\n",
            "",
            "logs:DescribeLogGroups on *",
        ),
        ("a role whose policies cannot be listed", "                  - iam:ListRolePolicies\n", "", "AWS::IAM::Role"),
        (
            "a subscription that cannot be taken back",
            "                  - sns:Unsubscribe\n",
            "",
            "sns:Unsubscribe on *",
        ),
        ("no right to the zone", "route53:ChangeResourceRecordSets, ", "", "AWS::Route53::RecordSet"),
    ] {
        assert!(original.contains(found), "{kind}: nothing to plant it in");
        let planted = Evaluated::of(&original.replace(found, planted), &delivery_parameters());
        let gaps = missing(&Policy::of_role(&planted, "CloudFormationRole"), &needed);
        assert!(gaps.iter().any(|gap| gap.contains(lacks)), "{kind} was not found: {gaps:#?}");
    }
}

/// So that two stages fit one account, and a role can be limited to one of them.
#[test]
fn every_name_that_is_given_has_the_stage_in_it() {
    const NAMES: [&str; 17] = [
        "AlarmName",
        "AliasName",
        "DashboardName",
        "DBClusterIdentifier",
        "DBInstanceIdentifier",
        "DBProxyName",
        "FunctionName",
        "LayerName",
        "LogGroupName",
        "ManagedPolicyName",
        "Name",
        "QueueName",
        "ReplicationGroupId",
        "RoleName",
        "TopicName",
        "UserGroupId",
        "UserId",
    ];
    /// Unique within what they belong to, and names of the world outside.
    const OTHERS: [&str; 5] = [
        "AWS::ApiGatewayV2::DomainName",
        "AWS::Lambda::Alias",
        "AWS::Route53::RecordSet",
        "AWS::SES::ConfigurationSetEventDestination",
        "AWS::RDS::DBProxyTargetGroup",
    ];
    let mut stacks = deployed_by_jobs();
    stacks.push(Evaluated::read("infra/stores.yaml", &parameters_of(&format!("{STAGE}-stores"))));
    stacks.push(delivery());
    let mut given = 0;
    for (id, resource) in stacks.iter().flat_map(|stack| &stack.resources) {
        let properties = resource["Properties"].as_object().into_iter().flatten();
        for (property, name) in properties.filter(|(property, _)| NAMES.contains(&property.as_str())) {
            let Some(name) = name.as_str() else { continue };
            if !OTHERS.contains(&resource["Type"].as_str().unwrap()) {
                assert!(name.contains(STAGE), "{id}: {property} {name}");
                given += 1;
            }
        }
    }
    assert!(given > 100, "only {given} names were looked at");
}

#[test]
fn no_role_that_deploys_can_change_itself_or_the_boundary_or_go_around_it() {
    let delivery = delivery();
    let (job, cloudformation) = (Policy::of_role(&delivery, "Role"), Policy::of_role(&delivery, "CloudFormationRole"));
    let name = |id: &str| {
        let role = &delivery.resources[id]["Properties"];
        let (path, name) = (role["Path"].as_str().unwrap(), role["RoleName"].as_str().unwrap());
        format!("arn:aws:iam::123456789012:role{path}{name}")
    };
    let (job_name, cloudformation_name) = (name("Role"), name("CloudFormationRole"));
    let boundary = format!("arn:aws:iam::123456789012:policy/souk-{STAGE}-functions");
    for (whose, policy) in [("the job's", &job), ("CloudFormation's", &cloudformation)] {
        for action in policy.actions().iter().filter(|action| action.starts_with("iam:") && *action != "iam:PassRole") {
            for itself in [&job_name, &cloudformation_name, &boundary] {
                assert!(!policy.allows(action, itself), "{whose} role: {action} on {itself}");
            }
        }
        assert!(
            !policy.0.iter().any(|statement| statement.actions.iter().any(|action| action.contains('*'))),
            "{whose}"
        );
    }
    let iam: BTreeSet<_> = job.actions().into_iter().filter(|action| action.starts_with("iam:")).collect();
    assert_eq!(iam, BTreeSet::from(["iam:PassRole".to_owned()]));

    // A role may be passed to the services that it is for.
    for (policy, services) in [
        (&job, vec!["cloudformation.amazonaws.com"]),
        (&cloudformation, vec!["codedeploy.amazonaws.com", "lambda.amazonaws.com", "scheduler.amazonaws.com"]),
    ] {
        for statement in policy.0.iter().filter(|statement| statement.actions.contains(&"iam:PassRole".to_owned())) {
            let to = &statement.condition["StringEquals"]["iam:PassedToService"];
            assert_eq!(texts(to).collect::<Vec<_>>(), services);
        }
    }

    // Whatever gives a role rights is bound to the boundary, and every role that a job deploys has it.
    let gives = ["CreateRole", "PutRolePolicy", "AttachRolePolicy", "PutRolePermissionsBoundary"];
    for statement in &cloudformation.0 {
        if statement.actions.iter().any(|action| gives.iter().any(|gives| *action == format!("iam:{gives}"))) {
            assert_eq!(statement.condition["StringEquals"]["iam:PermissionsBoundary"], boundary.as_str());
        }
    }
    assert!(!cloudformation.allows("iam:DeleteRolePermissionsBoundary", "*"));
    for stack in deployed_by_jobs() {
        for (id, role) in stack.of_type("AWS::IAM::Role") {
            assert_eq!(role["Properties"]["PermissionsBoundary"], boundary.as_str(), "{id}");
        }
    }
}

/// What the boundary does not allow, no policy of a role can. So it has to allow what they all do, and it is of no use if it allows more.
#[test]
fn the_boundary_allows_what_the_roles_below_it_may_do_and_no_more() {
    let data = Data::read();
    let mut parameters = parameters_of(&format!("{STAGE}-stores"));
    let stores = Evaluated::read("infra/stores.yaml", &parameters);
    let (_, boundary) = stores.of_type("AWS::IAM::ManagedPolicy").next().unwrap();
    let boundary = Policy::of_document(&boundary["Properties"]["PolicyDocument"]);
    parameters = parameters_of(STAGE);
    parameters
        .extend([("Lab", "on"), ("Traces", "cloudwatch")].map(|(name, value)| (name.to_owned(), value.to_owned())));
    let app = Evaluated::read("template.yaml", &parameters);

    // By Secrets Manager and SNS, on behalf of the reader of a secret and the publisher of an event.
    let mut used: BTreeSet<String> = ["kms:Decrypt", "kms:GenerateDataKey"].map(str::to_owned).into();
    for (id, role) in app.of_type("AWS::IAM::Role") {
        for statement in Policy::of_role(&app, id).0 {
            for action in &statement.actions {
                used.insert(action.clone());
                for resource in &statement.resources {
                    // A queue, a topic or an alias that the stack itself makes.
                    let own = format!("souk-{STAGE}-{id}");
                    let resource = match action.split_once(':').unwrap().0 {
                        service @ ("sqs" | "sns") => format!("arn:aws:{service}:{ACCOUNT}:{own}"),
                        "lambda" => format!("arn:aws:lambda:{ACCOUNT}:function:{own}:live"),
                        _ => resource.clone(),
                    };
                    assert!(boundary.allows(action, &resource), "{id}: {action} on {resource}");
                }
            }
        }
        for policy in texts(&role["Properties"]["ManagedPolicyArns"]) {
            for action in data.managed(policy) {
                used.insert(action.to_owned());
                assert!(boundary.actions().contains(action), "{id}: {action}, of {policy}");
            }
        }
    }
    let unused: Vec<_> = boundary.actions().into_iter().filter(|action| !used.contains(action)).collect();
    assert_eq!(unused, Vec::<String>::new());
}

/// In SES's sandbox, and where a recipient's address is an identity of the account, SES asks for the right to that identity too.
#[test]
fn mail_may_be_sent_to_any_address_but_only_from_ours() {
    let app = Evaluated::read("template.yaml", &parameters_of(STAGE));
    let policy = Policy::of_role(&app, "OnEmailRole");
    for identity in ["souk.example", "no-reply@souk.example", "verified-recipient@example.com"] {
        let identity = format!("arn:aws:ses:{ACCOUNT}:identity/{identity}");
        assert!(policy.allows("ses:SendEmail", &identity), "{identity}");
    }
    assert!(policy.allows("ses:SendEmail", &format!("arn:aws:ses:{ACCOUNT}:configuration-set/souk-{STAGE}")));
    let statement = policy.0.iter().find(|statement| statement.actions.contains(&"ses:SendEmail".to_owned())).unwrap();
    let address = format!("/souk/{STAGE}/email/address");
    assert_eq!(statement.condition["StringEquals"]["ses:FromAddress"], address.as_str());
}

#[test]
fn every_function_that_sends_spans_to_cloudwatch_may() {
    let roles_with_spans = |traces: &str| -> BTreeSet<String> {
        let mut parameters = parameters_of(STAGE);
        let _ = parameters.insert("Traces".to_owned(), traces.to_owned());
        let app = Evaluated::read("template.yaml", &parameters);
        let roles = app.of_type("AWS::Lambda::Function").map(|(id, _)| format!("{id}Role"));
        roles.filter(|role| Policy::of_role(&app, role).allows("xray:PutSpans", "*")).collect()
    };
    let app = Evaluated::read("template.yaml", &parameters_of(STAGE));
    let all: BTreeSet<String> = app.of_type("AWS::Lambda::Function").map(|(id, _)| format!("{id}Role")).collect();
    let none = roles_with_spans("off");
    assert_eq!(none, BTreeSet::new());
    let without: Vec<_> = all.difference(&roles_with_spans("cloudwatch")).cloned().collect();
    assert_eq!(without, ["AuthorizerRole"], "it records none");
}
