"""Has the databases of an environment refuse to be deleted: `cargo xtask deploy stores` runs it when the stack is there.

Not said in the template: a stack that fails while it is created could then not take them back. Called with the environment's name; with
`--off` they may be deleted again.
"""

import os
import sys

import boto3


def main() -> None:
    stage = sys.argv[1]
    protected = "--off" not in sys.argv
    name = f"souk-{stage}"
    region = os.environ.get("AWS_REGION")  # boto3 itself knows AWS_DEFAULT_REGION only
    boto3.client("rds", region_name=region).modify_db_instance(
        DBInstanceIdentifier=name, DeletionProtection=protected, ApplyImmediately=True
    )
    boto3.client("docdb", region_name=region).modify_db_cluster(
        DBClusterIdentifier=name, DeletionProtection=protected, ApplyImmediately=True
    )
    print(f"    MySQL and DocumentDB can{'not' if protected else ''} be deleted")


main()
