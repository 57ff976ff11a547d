"""Prints what SAM makes of a template on standard input, as JSON: what CloudFormation then creates.

Called with the parameters that a deployment sets: NAME=VALUE …
"""

import json
import logging
import os
import sys
from types import SimpleNamespace

from samcli.yamlhelper import yaml_parse
from samtranslator.translator.transform import transform

logging.disable(logging.WARNING)
os.environ["AWS_DEFAULT_REGION"] = "us-east-1"  # any will do

template = yaml_parse(sys.stdin.read())
# As `sam deploy` has uploaded it.
for resource in template["Resources"].values():
    for uri in ("CodeUri", "ContentUri"):
        if uri in resource.get("Properties", {}):
            resource["Properties"][uri] = f"s3://bucket/{resource['Properties'][uri].rstrip('/')}"
parameters = dict(argument.split("=", 1) for argument in sys.argv[1:])
managed_policies = SimpleNamespace(load=dict)  # by name: the template has none
json.dump(transform(template, parameters, managed_policies), sys.stdout)
