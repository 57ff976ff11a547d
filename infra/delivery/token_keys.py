"""Puts the first keys of access tokens where the functions look for them; leaves those that are there alone.

Called by `cargo xtask deploy` with the environment's name; reads what `tools keys new` prints. With `--are-there` it only looks, and
ends with 1 if they are not. A new key for an environment that
has one: docs/KEYS.md.
"""

import json
import os
import sys

import boto3


def main() -> None:
    stage = sys.argv[1]
    secret, parameter = f"souk/{stage}/token-signing-key", f"/souk/{stage}/token/public-keys"
    region = os.environ.get("AWS_REGION")  # boto3 itself knows AWS_DEFAULT_REGION only
    secrets, parameters = (boto3.client(service, region_name=region) for service in ("secretsmanager", "ssm"))
    try:
        secrets.describe_secret(SecretId=secret)
        print("    they are there")
        return
    except secrets.exceptions.ResourceNotFoundException:
        if "--are-there" in sys.argv:
            sys.exit(1)
    new = json.load(sys.stdin)
    # The public half first: if this dies in between, it is run again, and both are new.
    public = json.dumps(new["publicKeys"], separators=(",", ":"))
    parameters.put_parameter(Name=parameter, Type="String", Value=public, Overwrite=True)
    secrets.create_secret(Name=secret, SecretString=json.dumps(new["signingKey"]))
    print("    the first ones were made")


main()
