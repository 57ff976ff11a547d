"""Create the stage's MongoDB user: `create_mongodb_user.py PORT`, name and password on standard input.

The server takes users only while it runs without `--auth`, so the stage starts it once that way, runs this, and
starts it again with `--auth`.
"""

import sys

from pymongo import MongoClient
from pymongo.errors import OperationFailure

USER_EXISTS = 51003

port = int(sys.argv[1])
user, password = sys.stdin.read().split()
client = MongoClient(f"mongodb://127.0.0.1:{port}/?directConnection=true", serverSelectionTimeoutMS=10_000)
roles = [{"role": "root", "db": "admin"}]
try:
    client.admin.command("createUser", user, pwd=password, roles=roles)
except OperationFailure as error:
    if error.code != USER_EXISTS:
        raise
    client.admin.command("updateUser", user, pwd=password, roles=roles)
