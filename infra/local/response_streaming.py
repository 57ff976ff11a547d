"""Response streaming of functions behind function URLs, as Lambda does it: each chunk goes on when it comes.

MiniStack reads a streamed response to its end, turns it into text, and only then answers. Here the request's own `send` is taken to where
the function's chunks arrive: a queue of a few chunks, so that a client that does not keep up holds up the function too. All the rest of such
a request (who may call, the event, the function's process, its log) is as MiniStack does it.

One thing differs from AWS: there a function is not stopped when its client hangs up. Here nobody takes its bytes any more.
"""

import asyncio
import concurrent.futures
import contextvars
import json
import time

from ministack import app
from ministack.core import lambda_runtime

# How the head of a response ends: https://docs.aws.amazon.com/lambda/latest/dg/runtimes-custom.html#runtimes-custom-response-streaming
_PRELUDE_END = b"\x00" * 8
_CHUNKS = 4
# How long the end of a connection may take to be noticed on its other side.
_LINGER = 0.2

_response = contextvars.ContextVar("response", default=None)


class HungUp(Exception):
    """The client does not take any more."""


class Response:
    """The response to one request: chunks come in from the thread that reads them, and are sent by the request's task."""

    def __init__(self):
        self.loop = asyncio.get_running_loop()
        self.chunks = asyncio.Queue(_CHUNKS)
        self.has_begun = False
        self.is_over = False

    def put(self, chunk):
        """Waits until there is room. `None` is the end."""
        self.has_begun = True
        future = asyncio.run_coroutine_threadsafe(self.chunks.put(chunk), self.loop)
        while True:
            try:
                return future.result(0.1)
            except concurrent.futures.TimeoutError:
                if self.is_over:
                    future.cancel()
                    raise HungUp from None

    async def forward(self, send):
        head = b""
        while (chunk := await self.chunks.get()) is not None:
            if head is not None:
                head += chunk
                prelude, end, chunk = head.partition(_PRELUDE_END)
                if not end:
                    continue
                head = None
                prelude = json.loads(prelude)
                headers = [(name.encode(), value.encode()) for name, value in _fields(prelude["headers"])]
                await send({"type": "http.response.start", "status": prelude["statusCode"], "headers": headers})
            if chunk:
                await send({"type": "http.response.body", "body": chunk, "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})


def _fields(headers):
    """A field that comes several times is written as a list."""
    for name, values in headers.items():
        for value in values if isinstance(values, list) else [values]:
            yield name, value


async def _serve(scope, receive, send, original=app.app):
    headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope.get("headers", [])}
    if scope["type"] != "http" or app._parse_lambda_url(headers.get("host", ""), scope["path"]) is None:
        return await original(scope, receive, send)

    response = Response()
    _response.set(response)

    async def send_unless_streamed(message):
        if not response.has_begun:
            await send(message)

    messages = asyncio.Queue()

    async def listen():
        # What comes is the request, which `original` reads; and after it, that the client is gone.
        while True:
            message = await receive()
            await messages.put(message)
            if message["type"] == "http.disconnect":
                return

    forwarding = asyncio.ensure_future(response.forward(app._with_date_header(send)))
    listening = asyncio.ensure_future(listen())
    request = asyncio.ensure_future(original(scope, messages.get, send_unless_streamed))
    try:
        await asyncio.wait([forwarding, listening, request], return_when=asyncio.FIRST_COMPLETED)
        response.is_over = not request.done()
        await request
        if response.has_begun and not response.is_over:
            await forwarding
    finally:
        response.is_over = True
        forwarding.cancel()
        listening.cancel()


app.app = _serve


def _handler_class(worker, generation, pending, original=lambda_runtime.ProvidedWorker._build_handler_class):
    class Handler(original(worker, generation, pending)):
        def do_POST(self):
            response = worker.response
            is_streamed = self.headers.get("Lambda-Runtime-Function-Response-Mode") == "streaming"
            match = lambda_runtime._INVOCATION_RESULT_RE.search(self.path)
            if not is_streamed or response is None or match is None:
                return super().do_POST()
            try:
                for chunk in self._chunks():
                    response.put(chunk)
                response.put(None)
                is_complete = True
            except HungUp:
                is_complete = False
            # The log that is made of the invocation has no part of the response in it.
            worker._record_result(generation, match.group(1), match.group(2), "")
            self._respond(202)
            if not is_complete:
                self._leave()

        def _chunks(self):
            while size := int(self.rfile.readline().split(b";")[0], 16):
                yield self.rfile.read(size)
                self.rfile.readline()
            while self.rfile.readline().strip():
                pass

        def _leave(self):
            """Closing at once could overtake the answer; reading on for a moment lets that arrive."""
            self.close_connection = True
            self.connection.settimeout(_LINGER)
            end = time.monotonic() + _LINGER
            try:
                while time.monotonic() < end and self.rfile.read1():
                    pass
            except OSError:
                pass

    return Handler


def _invoke(worker, *arguments, original=lambda_runtime.ProvidedWorker.invoke, **named):
    worker.response = _response.get()
    try:
        return original(worker, *arguments, **named)
    finally:
        worker.response = None


lambda_runtime.ProvidedWorker.response = None
lambda_runtime.ProvidedWorker._build_handler_class = _handler_class
lambda_runtime.ProvidedWorker.invoke = _invoke
