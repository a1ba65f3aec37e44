"""An S3 server for tests: moto behind plain HTTP, in a process of its own, one request at a time.

One at a time, because moto checks `If-None-Match` and then writes, without a lock: with threads two clients could both
be told that they made the object. A real store decides that atomically.

Run as a script it serves until its standard input closes. Faults are asked for with requests to `/-/<what>`.
"""

from __future__ import annotations

import io
import os
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any


@dataclass
class S3Server:
    """The server, as tests see it."""

    endpoint: str
    _process: subprocess.Popen[str]
    _buckets: Iterator[int] = field(default_factory=lambda: count(1))

    @classmethod
    def start(cls) -> S3Server:
        process = subprocess.Popen(
            [sys.executable, str(Path(__file__))], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert process.stdout is not None
        port = process.stdout.readline().strip()
        assert port, "the S3 server did not start"
        return cls(f"http://127.0.0.1:{port}", process)

    def stop(self) -> None:
        self._process.kill()
        self._process.wait()

    @property
    def environment(self) -> dict[str, str]:
        """The least that a user must set for a server that is not Amazon's."""
        return {
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_ALLOW_HTTP": "true",
            "AWS_ACCESS_KEY_ID": "test-key-id",
            "AWS_SECRET_ACCESS_KEY": "test-secret",
        }

    def new_url(self) -> str:
        """A folder in a bucket of its own, on a server without faults."""
        self.lose_answers(0)
        self.arrive_late(0)
        self.ignore_conditions(False)
        bucket = f"bucket-{next(self._buckets)}"
        self.request("PUT", f"/{bucket}")
        return f"s3://{bucket}/ledgers"

    def request(self, method: str, path: str, data: bytes | None = None, **headers: str) -> bytes:
        """What the server answers; HTTPError for anything but success."""
        names = {name.replace("_", "-"): value for name, value in headers.items()}
        asked = urllib.request.Request(self.endpoint + path, data, names, method=method)
        with urllib.request.urlopen(asked, timeout=30) as answer:
            return answer.read()

    def seen(self) -> list[str]:
        """Method and path of each request since the last call, and forget them."""
        return self.request("GET", "/-/seen").decode().splitlines()

    def lose_answers(self, num: int) -> None:
        """The next `num` PUTs are carried out, but answered with an error."""
        self.request("PUT", f"/-/lose?{num}")

    def arrive_late(self, num: int, with_the_next: str = "list") -> None:
        """The next `num` PUTs are answered with an error and carried out only with the next LIST or, `put`, the next
        PUT but one of that object. PUTs before are answered as S3 does while another is under way: 409, and nothing is
        there yet."""
        self.request("PUT", f"/-/late?{num}-{with_the_next}")

    def ignore_conditions(self, ignore: bool) -> None:
        """Whether to carry out PUTs whatever their `If-None-Match` says, as old servers do."""
        self.request("PUT", f"/-/ignore?{int(ignore)}")


class _Faulty:
    """The application, and the faults that were asked for."""

    def __init__(self, application: Callable[..., Iterable[bytes]]) -> None:
        self.application = application
        self.seen: list[str] = []
        self.answers_to_lose, self.ignore = 0, False
        self.num_late, self.late_until = 0, "list"
        self.under_way: dict[str, dict[str, Any]] = {}

    def __call__(self, environ: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
        method, path, query = environ["REQUEST_METHOD"], environ["PATH_INFO"], environ["QUERY_STRING"]
        if path.startswith("/-/"):
            return self._control(path.removeprefix("/-/"), query, start)
        self.seen.append(f"{method} {path}")
        if method == "PUT" and (self.num_late or path in self.under_way):
            return self._held_up(environ, start)
        if method == "GET" and "list-type" in query and self.late_until == "list":
            self._arrive(list(self.under_way))
        if self.ignore:
            environ.pop("HTTP_IF_NONE_MATCH", None)
        if method == "PUT" and self.answers_to_lose:
            self.answers_to_lose -= 1
            list(self.application(environ, lambda *_: None))
            start("500 Internal Server Error", [])
            return [b""]
        return self.application(environ, start)

    def _held_up(self, environ: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
        path, body = environ["PATH_INFO"], environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        again = environ | {"wsgi.input": io.BytesIO(body)}
        if path not in self.under_way:
            self.num_late -= 1
            self.under_way[path], self.conflicts = again, 0
            start("500 Internal Server Error", [])
            return [b""]
        self.conflicts += 1
        if self.late_until == "put" and self.conflicts > 1:
            self._arrive([path])
            return self.application(again, start)
        start("409 Conflict", [("Content-Type", "application/xml")])
        return [b"<Error><Code>ConditionalRequestConflict</Code></Error>"]

    def _arrive(self, paths: list[str]) -> None:
        for path in paths:
            list(self.application(self.under_way.pop(path), lambda *_: None))

    def _control(self, what: str, query: str, start: Callable[..., Any]) -> Iterable[bytes]:
        body = b""
        if what == "seen":
            body, self.seen = "\n".join(self.seen).encode(), []
        elif what == "lose":
            self.answers_to_lose = int(query)
        elif what == "late":
            num, _, self.late_until = query.partition("-")
            self.num_late = int(num)
        elif what == "ignore":
            self.ignore = query == "1"
        start("200 OK", [("Content-Length", str(len(body)))])
        return [body]


def _exit_with_parent() -> None:
    sys.stdin.read()
    os._exit(0)


def _serve() -> None:
    import logging

    from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
    from werkzeug.serving import make_server

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = make_server("127.0.0.1", 0, _Faulty(DomainDispatcherApplication(create_backend_app)), threaded=False)
    print(server.server_port, flush=True)
    threading.Thread(target=_exit_with_parent, daemon=True).start()
    server.serve_forever()


if __name__ == "__main__":
    _serve()
