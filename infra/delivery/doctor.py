"""Looks at an account before anything is created in it: what a first deployment would fail with half an hour later.

Called with the environment's name, by `cargo xtask deploy stores` too. It reads `samconfig.toml` and `template.yaml`, asks AWS, changes nothing, and
ends with 1 if there is something to do first.
"""

import os
import pathlib
import sys

import boto3
import tomlkit
from samcli.yamlhelper import yaml_parse

ROOT = pathlib.Path.cwd()
UNRESERVED = 100  # what Lambda keeps for functions that reserve none


def parameters(section: str) -> dict[str, str]:
    configuration = tomlkit.parse((ROOT / "samconfig.toml").read_text())
    overrides = configuration[section]["deploy"]["parameters"]["parameter_overrides"]
    return dict(str(entry).split("=", 1) for entry in overrides)


def reserved(deployed: dict[str, str]) -> int:
    """How many environments the functions reserve together."""
    template = yaml_parse((ROOT / "template.yaml").read_text())
    size = template["Mappings"]["Sizes"][deployed["Size"]]
    usual = template["Globals"]["Function"]["ReservedConcurrentExecutions"]
    functions = (of for of in template["Resources"].values() if of["Type"] == "AWS::Serverless::Function")
    there = (of for of in functions if "Condition" not in of or deployed.get("Lab") == "on")
    limits = (of["Properties"].get("ReservedConcurrentExecutions", usual) for of in there)
    return sum(size[limit["Fn::If"][1]["Fn::FindInMap"][2]] for limit in limits)


def concurrency(aws, stage: str) -> str | None:
    needed = reserved(parameters(stage))
    limits = aws("lambda").get_account_settings()["AccountLimit"]
    left = limits["UnreservedConcurrentExecutions"] - UNRESERVED
    if needed <= max(left, 0):
        return None
    return (
        f"its functions reserve {needed} concurrent executions, and {max(left, 0)} of the account's"
        f" {limits['ConcurrentExecutions']} are left for that: ask Service Quotas for more, or deploy a smaller size"
    )


def sender(aws, stage: str) -> str | None:
    address = parameters(f"{stage}-stores")["EmailAddress"]
    ses = aws("sesv2")
    for identity in (address, address.partition("@")[2]):
        try:
            if ses.get_email_identity(EmailIdentity=identity)["VerifiedForSendingStatus"]:
                return None
        except ses.exceptions.NotFoundException:
            pass
    return f"SES has verified neither {address} nor its domain in this region: docs/OPERATIONS.md, Mail"


def main() -> None:
    stage = sys.argv[1]
    # boto3 itself knows AWS_DEFAULT_REGION only.
    aws = lambda service: boto3.client(service, region_name=os.environ.get("AWS_REGION"))
    try:
        aws("lambda").get_function(FunctionName=f"souk-{stage}-health")
        print(f"    `{stage}` is there already")
        return
    except aws("lambda").exceptions.ResourceNotFoundException:
        pass
    found = [problem for problem in (concurrency(aws, stage), sender(aws, stage)) if problem]
    if not aws("sesv2").get_account()["ProductionAccessEnabled"]:
        print("    note: SES is in its sandbox, and mails go to verified addresses only")
    if found:
        sys.exit("\n".join(f"    {problem}" for problem in found))
    print("    nothing stands in the way that could be looked up")


main()
