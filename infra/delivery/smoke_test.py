"""Asks a deployment what it has to answer. Ends with 1 if it does not: `cargo xtask deploy` then takes it back.

Called with the name of a stack that has the output ApiUrl, or with an address.
"""

import json
import os
import sys
import time
import urllib.error
import urllib.request

# Of each request, the status that it has to be answered with, and the token that it has.
EXPECTED = [
    ("/health", 200, None),
    ("/health/ready", 200, None),  # every store answers
    ("/.well-known/jwks.json", 200, None),
    ("/v1/products?limit=1", 200, None),
    ("/v1/users/me", 401, None),  # the gateway's own answer: it asks no authorizer about a request without a token
    ("/v1/users/me", 403, "nonsense"),  # the authorizer's: were it broken, the gateway would say 500
    ("/v1/nothing-of-this-name", 404, None),
]
TRIES = int(os.environ.get("SMOKE_TEST_TRIES", 5))
PAUSE = 2  # seconds; an environment that starts may be late


def address(name: str) -> str:
    if name.startswith("http"):
        return name
    import boto3

    # boto3 itself knows AWS_DEFAULT_REGION only.
    stacks = boto3.client("cloudformation", region_name=os.environ.get("AWS_REGION"))
    outputs = stacks.describe_stacks(StackName=name)["Stacks"][0]["Outputs"]
    return next(output["OutputValue"] for output in outputs if output["OutputKey"] == "ApiUrl")


def status(url: str, token: str | None) -> object:
    headers = {"authorization": f"Bearer {token}"} if token else {}
    try:
        with urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=15) as reply:
            body = json.load(reply)
            # Ready, but without one of the stores that can be done without for a while.
            return "degraded" if body.get("status") == "degraded" else reply.status
    except urllib.error.HTTPError as error:
        return error.code
    except (OSError, ValueError) as error:
        return str(error)


def is_as_expected(url: str, expected: int, token: str | None) -> bool:
    shown = f"{url} with a token that is none" if token else url
    for attempt in range(TRIES):
        found = status(url, token)
        if found == expected:
            print(f"    {shown}: {found}")
            return True
        if attempt + 1 < TRIES:
            time.sleep(PAUSE)
    print(f"    {shown}: {found}, and not {expected}")
    return False


base = address(sys.argv[1]).rstrip("/")
if not all([is_as_expected(base + path, expected, token) for path, expected, token in EXPECTED]):
    sys.exit(1)
