"""A small local server that speaks the protocol of OpenAI's endpoints, and misbehaves on request.

Its answers are SIMULATED, the protocol is real: engines reach it by the official client over HTTP.
"""

from __future__ import annotations

import base64
import io
import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from PIL import Image

from tests.openai_batches import Batches, form

KEY = "sk-canary-0123456789abcdef"
Answer = tuple[int, dict[str, str], Any]


class OpenAIServer:
    """`faults`: answers (status, headers, body) to the next requests, each given once, before the usual ones."""

    def __init__(self, key: str) -> None:
        self.key = key
        self.requests: list[tuple[str, dict[str, Any], dict[str, str]]] = []
        """(path, body, headers in lower case) of all but `/models`, in the order in which they came."""
        self.times: list[float] = []
        self.faults: list[Answer] = []
        self.delay_s = 0.0
        self.says = "a picture"
        """What every caption begins with."""
        self.sizes: str | None = None
        """Of all images, whatever was asked for."""
        self.usual: dict[str, Callable[[dict[str, Any], str], Any]] = dict(_USUAL)
        """What answers at each path: with a body, or with a whole `Answer`."""
        self.batches = Batches(lambda path, body: self.usual[path](body, self.says))
        self.most_at_once = 0
        self._at_once = 0
        self._lock = threading.Lock()
        handler = type("Handler", (_Handler,), {"server_of": self})
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}/v1"
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def answer(self, method: str, path: str, body: dict[str, Any], headers: dict[str, str]) -> Answer:
        if headers.get("authorization") != f"Bearer {self.key}":
            return 401, {}, {"error": {"message": f"Incorrect API key provided: {headers.get('authorization')}"}}
        if path == "/v1/models":
            return 200, {}, {"object": "list", "data": []}
        with self._lock:
            self.requests.append((path, body, headers))
            self.times.append(time.monotonic())
            self._at_once += 1
            self.most_at_once = max(self.most_at_once, self._at_once)
            fault = self.faults.pop(0) if self.faults else None
        time.sleep(self.delay_s)
        with self._lock:
            self._at_once -= 1
            if fault is None and path.startswith(("/v1/files", "/v1/batches")):
                return 200, {}, self.batches.answer(method, path, body)
        if fault is not None:
            return fault
        if path not in self.usual:
            return 404, {}, {"detail": "Not Found"}
        said = self.usual[path](body if self.sizes is None else body | {"size": self.sizes}, self.says)
        return said if isinstance(said, tuple) else (200, {}, said)


class _Handler(BaseHTTPRequestHandler):
    server_of: OpenAIServer
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self._give("GET", b"")

    def do_POST(self) -> None:
        self._give("POST", self.rfile.read(int(self.headers.get("content-length", 0))))

    def _give(self, method: str, raw: bytes) -> None:
        headers = {name.lower(): value for name, value in self.headers.items()}
        kind = headers.get("content-type", "")
        given = form(raw, kind) if kind.startswith("multipart/") else json.loads(raw or b"{}")
        status, more, body = self.server_of.answer(method, self.path, given, headers)
        data = body.encode() if isinstance(body, str) else json.dumps(body).encode()
        self.send_response(status)
        for name, value in ({"content-type": "application/json", "content-length": str(len(data))} | more).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing."""


def _usage(prompt: int, written: int) -> dict[str, Any]:
    details = {"cached_tokens": 4}
    return {
        "prompt_tokens": prompt,
        "completion_tokens": written,
        "total_tokens": prompt + written,
        "prompt_tokens_details": details,
    }


def _chat(body: dict[str, Any], says: str) -> dict[str, Any]:
    """Each choice repeats the last line that was asked, and its own number; of an image its size and first pixel."""
    content = body["messages"][-1]["content"]
    if isinstance(content, list):
        url = next(part["image_url"]["url"] for part in content if part["type"] == "image_url")
        with Image.open(io.BytesIO(base64.b64decode(url.partition(",")[2]))) as image:
            said = f"{says} of {image.size} {image.format} {image.getpixel((0, 0))}"
    else:
        said = content.splitlines()[-1]
    choices = [
        {"index": i, "finish_reason": "stop", "message": {"role": "assistant", "content": f"{said} {i}"}}
        for i in reversed(range(body.get("n") or 1))
    ]
    usage = _usage(10, 3 * len(choices))
    return {"id": "1", "object": "chat.completion", "created": 0, "model": "m", "choices": choices, "usage": usage}


def _completion(body: dict[str, Any], says: str) -> dict[str, Any]:
    choices = [
        {"index": i, "finish_reason": "stop", "text": f"{body['prompt']} {i}"} for i in range(body.get("n") or 1)
    ]
    return {"id": "1", "object": "text_completion", "created": 0, "model": "m", "choices": choices}


def _image(body: dict[str, Any], says: str) -> dict[str, Any]:
    """A picture of one colour, which depends on prompt and seed."""
    width, height = (int(side) for side in body.get("size", "64x64").split("x"))
    colour = (len(body["prompt"]) % 256, body.get("seed", 0) % 256, 7)
    buffer = io.BytesIO()
    Image.new("RGB", (width, height), colour).save(buffer, "PNG")
    return {"created": 0, "data": [{"b64_json": base64.b64encode(buffer.getvalue()).decode()}]}


_USUAL = {"/v1/chat/completions": _chat, "/v1/completions": _completion, "/v1/images/generations": _image}


@contextmanager
def openai_server(key: str = KEY) -> Iterator[OpenAIServer]:
    server = OpenAIServer(key)
    try:
        yield server
    finally:
        server.stop()
