"""Run MiniStack for a stage, with seven corrections to what it does by itself.

Each is as small as it can be and names what it puts right; drop it when a newer MiniStack no longer needs it. The last, streamed
responses, is in `response_streaming.py`.
"""

import json
import socketserver
import threading
import time

import response_streaming  # noqa: F401
from ministack import app
from ministack.core import iam_actions, lambda_runtime, responses

# Its Runtime API server writes headers and body apart; Nagle against delayed ACK would add 40 ms to every invocation.
socketserver.StreamRequestHandler.disable_nagle_algorithm = True

# It answers GET /health on every host itself, an API's host included; that path belongs to the API.
app._HEALTH_PATHS = ("/_ministack/health",)


def _enforce_ses(method, path, headers, body, query_params, request_id, original=app._enforce_ses_v2):
    """SES authorizes SendEmail against an identity, with the sender's address as ses:FromAddress; MiniStack does against `*`, without it."""
    if not app.AUTH or path.rstrip("/") != "/v2/email/outbound-emails":
        return original(method, path, headers, body, query_params, request_id)
    sender = json.loads(body or b"{}").get("FromEmailAddress", "")
    address = sender.rpartition("<")[2].rstrip("> ")
    identity = f"arn:aws:ses:{app.extract_region(headers, query_params)}:{responses.get_account_id()}:identity/{address}"
    return app._enforce_data_plane(
        "sesv2",
        "ses:SendEmail",
        headers,
        query_params,
        request_id,
        resource_arn=identity,
        service_context={"ses:FromAddress": address},
        named_resource=identity,
    )


app._enforce_ses_v2 = _enforce_ses


def _action(headers, original=iam_actions._action_from_target):
    """SQS has no IAM actions for batches: sqs:SendMessage allows SendMessageBatch. MiniStack asks for the latter."""
    action = original(headers)
    if action and headers.get("x-amz-target", "").startswith("AmazonSQS."):
        return action.removesuffix("Batch")
    return action


iam_actions._action_from_target = _action


def _query_action(*arguments, original=iam_actions._action_from_query, **named):
    """SNS neither: sns:Publish allows PublishBatch."""
    action = original(*arguments, **named)
    return "Publish" if action == "PublishBatch" else action


iam_actions._action_from_query = _query_action

# More than a function's timeout and the time it may take to start.
_LONGEST_REQUEST = 920


def _end_when_idle(workers, end):
    deadline = time.monotonic() + _LONGEST_REQUEST
    for worker in workers:
        while worker.in_use and time.monotonic() < deadline:
            time.sleep(0.01)
        end([worker])


def _kill_workers(workers, original=lambda_runtime.kill_workers):
    """Lambda lets a request that runs while its function is updated end; MiniStack kills the function under it."""
    workers = [worker for worker in workers if worker is not None]
    busy = [worker for worker in workers if worker.in_use]
    original([worker for worker in workers if worker not in busy])
    if busy:
        threading.Thread(target=_end_when_idle, args=(busy, original), daemon=True).start()


lambda_runtime.kill_workers = _kill_workers

if __name__ == "__main__":
    app.main()
