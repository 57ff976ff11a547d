"""Check templates against CloudFormation Guard rules: `check_guard.py RULES TEMPLATE...`."""

import json
import re
import sys

from cfnlint.decode import decode

try:
    from cfn_guard_rs.api import run_checks_rs
except ImportError:
    sys.exit("the Guard rules cannot be checked here: their engine has no wheels for Python 3.13 and later")


def findings(report):
    """Where each clause of a report failed, and what the rule says of it."""
    if isinstance(report, list):
        for part in report:
            yield from findings(part)
    elif isinstance(report, dict):
        messages = report.get("messages") or {}
        message = messages.get("custom_message") or messages.get("error_message")
        if message:
            path = re.search(r'"path": "(/[^"]+)"', json.dumps(report))
            yield f"{path.group(1) if path else '/'}: {message}"
        for part in report.values():
            yield from findings(part)


def rules_of(text):
    """Each rule by its name, with the variables before the first: one at a time, since a long report comes out cut off."""
    variables, *rules = re.split(r"^(?=rule )", text, flags=re.MULTILINE)
    return {rule.split()[1]: f"{variables}\n{rule}" for rule in rules}


def main(rules_path, *paths):
    with open(rules_path, encoding="utf-8") as file:
        rules = rules_of(file.read())
    failed = False
    for path in paths:
        template, errors = decode(path)
        if errors:
            sys.exit(f"{path} cannot be read: {errors}")
        held = []
        for name, rule in rules.items():
            text = run_checks_rs(json.dumps(template), rule, False)
            try:
                report = json.loads(text)
            except json.JSONDecodeError:
                report = {"status": "FAIL", "messages": {"custom_message": "more findings than can be shown"}}
            if report["status"] == "FAIL":
                failed = True
                print(*(f"{path}: {name}: {finding}" for finding in dict.fromkeys(findings(report))), sep="\n")
            elif report["status"] == "PASS":
                held.append(name)
        print(f"{path}: {', '.join(held)}")
    return failed


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
