"""Every function of an environment back to the version before, at once: `cargo xtask rollback`, and `deploy` after a smoke test that failed.

Only the aliases move: the code that they point to is still there. The stack does not know of it, and its next deployment brings the
functions to that deployment's versions. Not in Rust like the rest: when an API is broken, nobody wants to wait for a build.
"""

import argparse
import os
import sys

import boto3

ALIAS = "live"  # what requests are sent to: `AutoPublishAlias` in the template


def number(version: str) -> int:
    return int(version) if version.isdigit() else 0  # $LATEST


def plan(aws, prefix: str) -> list[tuple[str, dict, int]]:
    """The functions that can go back, each with its alias and the last version before that."""
    steps = []
    for page in aws.get_paginator("list_functions").paginate():
        for function in (function["FunctionName"] for function in page["Functions"]):
            if not function.startswith(prefix):
                continue
            aliases = aws.list_aliases(FunctionName=function)["Aliases"]
            alias = next((alias for alias in aliases if alias["Name"] == ALIAS), None)
            if alias is None:
                continue
            pages = aws.get_paginator("list_versions_by_function").paginate(FunctionName=function)
            versions = [number(version["Version"]) for page in pages for version in page["Versions"]]
            before = [version for version in versions if 0 < version < number(alias["FunctionVersion"])]
            if before:
                steps.append((function, alias, max(before)))
    return steps


def main() -> None:
    parser = argparse.ArgumentParser(prog="rollback")
    parser.add_argument("--env", required=True, metavar="NAME")
    parser.add_argument("--yes", action="store_true", help="do not ask")
    arguments = parser.parse_args()
    # boto3 itself knows AWS_DEFAULT_REGION only.
    aws = boto3.client("lambda", region_name=os.environ.get("AWS_REGION"))
    steps = plan(aws, f"souk-{arguments.env}-")
    for function, alias, version in steps:
        print(f"{function:<48} {alias['FunctionVersion']} → {version}")
    if not steps:
        sys.exit(f"no function of `{arguments.env}` has a version before the one that is live")
    if not arguments.yes:
        print(f"{len(steps)} functions go back. Type `yes`: ", end="", flush=True)
        if sys.stdin.readline().strip() != "yes":
            sys.exit("nothing was changed")
    for function, alias, version in steps:
        # All traffic, unless somebody else has moved the alias meanwhile.
        aws.update_alias(
            FunctionName=function,
            Name=ALIAS,
            FunctionVersion=str(version),
            RoutingConfig={"AdditionalVersionWeights": {}},
            RevisionId=alias["RevisionId"],
        )
    print(f"{len(steps)} functions went back")


main()
