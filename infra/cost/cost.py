"""What the three stacks cost while nothing is asked of them: their resources, counted in the templates, times the prices in prices.json.

`cost.py` prints the tables of docs/COST.md, `cost.py --write` puts them there, and `cost.py --check` ends with 1 if others are there, which
`cargo xtask check` runs.
"""

import json
import pathlib
import sys

from cfnlint.decode import decode

ROOT = pathlib.Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs/COST.md"
BEGIN, END = "<!-- infra/cost/cost.py -->\n", "<!-- until here -->\n"
SIZES = ["demo", "small", "large"]
PRICES = json.loads((ROOT / "infra/cost/prices.json").read_text())
HOURS = PRICES["hours_of_a_month"]
# What no template makes: docs/KEYS.md.
SECRETS_BESIDE = 1
# The outboxes' lag, which the relay measures itself.
METRICS_BESIDE = 1
METRICS_OF_A_ROUTE = 6


class Stack:
    """The resources that a template makes with some parameters, as far as their number and size go."""

    def __init__(self, path: str, parameters: dict):
        template, errors = decode(str(ROOT / path))
        if errors:
            sys.exit(f"{path} cannot be read: {errors}")
        defaults = {name: of["Default"] for name, of in template.get("Parameters", {}).items() if "Default" in of}
        self.parameters = {**defaults, **parameters}
        self.mappings = template.get("Mappings", {})
        self.conditions = template.get("Conditions", {})
        there = (of for of in template["Resources"].values() if self.holds(of.get("Condition", True)))
        self.resources = [(of["Type"], self.value(of.get("Properties", {}))) for of in there]

    def holds(self, condition) -> bool:
        if isinstance(condition, bool):
            return condition
        if isinstance(condition, str):
            return self.holds(self.conditions[condition])
        ((function, arguments),) = condition.items()
        if function == "Fn::Equals":
            left, right = (str(self.value(argument)).lower() for argument in arguments)
            return left == right
        if function == "Fn::Not":
            return not self.holds(arguments[0])
        sys.exit(f"{function} is nothing that this can evaluate")

    def value(self, value):
        if isinstance(value, list):
            return [self.value(item) for item in value]
        if not isinstance(value, dict):
            return value
        if len(value) == 1:
            ((function, arguments),) = value.items()
            if function == "Ref":
                return self.parameters.get(arguments, arguments)
            if function == "Fn::If":
                return self.value(arguments[1 if self.holds(arguments[0]) else 2])
            if function == "Fn::FindInMap":
                name, first, second = (self.value(argument) for argument in arguments)
                return self.mappings[name][first][second]
        return {name: self.value(member) for name, member in value.items()}

    def of(self, kind: str) -> list[dict]:
        return [properties for found, properties in self.resources if found == kind]


def stacks(size: str, **more) -> list[Stack]:
    parameters = {"Stage": "prod", "Size": size, **more}
    return [Stack(path, parameters) for path in ("infra/stores.yaml", "template.yaml", "infra/monitoring.yaml")]


def month(size: str, **more) -> dict[str, float]:
    """Dollars a month, by what they are for."""
    all_stacks = stacks(size, **more)
    of = lambda kind: [properties for stack in all_stacks for properties in stack.of(kind)]
    mysql = of("AWS::RDS::DBInstance")
    zones = lambda server: 2 if server["MultiAZ"] else 1
    alarms = of("AWS::CloudWatch::Alarm")
    watched = sum(sum("MetricStat" in metric for metric in alarm.get("Metrics", [])) or 1 for alarm in alarms)
    interfaces = [endpoint for endpoint in of("AWS::EC2::VPCEndpoint") if endpoint["VpcEndpointType"] == "Interface"]
    return {
        "MySQL: servers": sum(zones(of) * PRICES["mysql_server_hour"][of["DBInstanceClass"]] * HOURS for of in mysql),
        "MySQL: storage": sum(zones(of) * PRICES["mysql_storage_month"] * of["AllocatedStorage"] for of in mysql),
        "RDS Proxy": len(of("AWS::RDS::DBProxy"))
        * sum(PRICES["proxy_vcpu_hour"] * PRICES["vcpus"].get(of["DBInstanceClass"], 0) * HOURS for of in mysql),
        "DocumentDB: servers": sum(
            PRICES["documentdb_server_hour"][of["DBInstanceClass"]] * HOURS for of in of("AWS::DocDB::DBInstance")
        ),
        "Redis": sum(
            of["NumCacheClusters"] * PRICES["redis_node_hour"][of["CacheNodeType"]] * HOURS
            for of in of("AWS::ElastiCache::ReplicationGroup")
        ),
        "endpoints of AWS services": sum(len(of["SubnetIds"]) * PRICES["endpoint_zone_hour"] * HOURS for of in interfaces),
        "NAT gateway and its address": len(of("AWS::EC2::NatGateway")) * PRICES["nat_hour"] * HOURS
        + len(of("AWS::EC2::EIP")) * PRICES["public_address_hour"] * HOURS,
        "keys of KMS": len(of("AWS::KMS::Key")) * PRICES["key_month"],
        "secrets": (len(of("AWS::SecretsManager::Secret")) + SECRETS_BESIDE) * PRICES["secret_month"],
        "alarms": watched * PRICES["alarm_metric_month"]
        + len(of("AWS::CloudWatch::CompositeAlarm")) * PRICES["composite_alarm_month"],
        "dashboard": len(of("AWS::CloudWatch::Dashboard")) * PRICES["dashboard_month"],
        "metrics": (len(of("AWS::Logs::MetricFilter")) + METRICS_BESIDE) * PRICES["metric_month"],
    }


def routes() -> int:
    """Those that are there in production."""
    functions = Stack("template.yaml", {"Size": "small"}).of("AWS::Serverless::Function")
    events = [event for function in functions for event in function.get("Events", {}).values()]
    return sum(event["Type"] == "HttpApi" for event in events)


def row(name: str, values: list[float], strong: str = "") -> str:
    return f"| {strong}{name}{strong} | " + " | ".join(f"{strong}{value:,.2f}{strong}" for value in values) + " |\n"


def tables() -> str:
    idle = [month(size) for size in SIZES]
    text = "| A month, in dollars | demo | small | large |\n| --- | ---: | ---: | ---: |\n"
    for name in idle[0]:
        if any(of[name] for of in idle):
            text += row(name, [of[name] for of in idle])
    whole = [sum(of.values()) for of in idle]
    text += row("together", whole, "**")
    text += row("a day of it", [of / PRICES["days_of_a_month"] for of in whole])
    text += "\n| What is asked for besides, a month | demo | small | large |\n| --- | ---: | ---: | ---: |\n"
    for name, more in [("`InternetEgress=nat` in the stores", {"InternetEgress": "nat"}), ("`Traces=on` in the stores", {"Traces": "on"})]:
        with_it = [sum(month(size, **more).values()) for size in SIZES]
        text += row(name, [of - without for of, without in zip(with_it, whole)])
    each = routes() * METRICS_OF_A_ROUTE * PRICES["metric_month"]
    text += row(f"`RouteMetrics=on`, with each of {routes()} routes called every hour", [each] * len(SIZES))
    return text


def main() -> None:
    page = PAGE.read_text()
    before, rest = page.split(BEGIN)
    there, after = rest.split(END)
    computed = "\n" + tables() + "\n"
    if "--check" in sys.argv:
        if there != computed:
            sys.exit("docs/COST.md has other figures than the templates and prices.json: run infra/cost/cost.py --write")
        print("docs/COST.md has the figures of the templates")
    elif "--write" in sys.argv:
        PAGE.write_text(before + BEGIN + computed + END + after)
    else:
        print(tables())


main()
