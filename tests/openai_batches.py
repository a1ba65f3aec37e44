"""Files and batches of the local server that speaks OpenAI's protocol. Answers are SIMULATED, the protocol is real."""

from __future__ import annotations

import email
import json
from collections.abc import Callable
from typing import Any


class Batches:
    """Each is done after `polls` looks at it, with the usual answers to its requests, in reverse order."""

    def __init__(self, usual: Callable[[str, dict[str, Any]], Any]) -> None:
        self._usual = usual
        self._files: dict[str, str] = {}
        self.all: list[dict[str, Any]] = []
        """The newest last."""
        self.polls = 2
        self.ends: list[str] = []
        """How the next batches end, each once; else `completed`."""
        self.why: dict[str, str] = {"code": "token_limit_exceeded", "message": "too many tokens"}
        """Of batches that end `failed`."""
        self.fails: dict[str, tuple[int, dict[str, Any]]] = {}
        """custom_id: status and error of that request, in the next batch alone."""
        self.unanswered: set[str] = set()
        """custom_ids that the next batch leaves, as one that expires does."""

    def answer(self, method: str, path: str, body: dict[str, Any]) -> Any:
        """Of a request below /v1/files or /v1/batches; text, or what becomes JSON."""
        path = path.partition("?")[0].removeprefix("/v1/")
        if path == "files":
            name = f"file-{len(self._files)}"
            self._files[name] = body["file"]
            return _file(name, body["purpose"])
        if path.startswith("files/"):
            return self._files[path.split("/")[1]]
        if path == "batches" and method == "GET":
            return {"object": "list", "data": self.all[::-1], "has_more": False}
        if path == "batches":
            self.all.append(
                {
                    "id": f"batch-{len(self.all)}",
                    "object": "batch",
                    "created_at": 0,
                    "status": "validating",
                    "polled": 0,
                    **body,
                }
            )
            return self.all[-1]
        batch = next(batch for batch in self.all if batch["id"] == path.split("/")[1])
        batch["polled"] += 1
        if batch["polled"] >= self.polls and batch["status"] in ("validating", "in_progress"):
            self._finish(batch)
        return batch

    def requests(self, number: int) -> list[dict[str, Any]]:
        """The lines of a batch's file."""
        return [json.loads(line) for line in self._files[self.all[number]["input_file_id"]].splitlines()]

    def _finish(self, batch: dict[str, Any]) -> None:
        batch["status"] = self.ends.pop(0) if self.ends else "completed"
        if batch["status"] == "failed":
            batch["errors"] = {
                "object": "list",
                "data": [self.why],
            }
            return
        done, failed = [], []
        for line in self.requests(self.all.index(batch))[::-1]:
            name = line["custom_id"]
            common = {"id": f"r{name}", "custom_id": name, "error": None}
            if name in self.unanswered:
                failed.append(common | {"response": None, "error": {"code": "batch_expired", "message": "too late"}})
            elif name in self.fails:
                status, error = self.fails[name]
                failed.append(common | {"response": {"status_code": status, "body": {"error": error}}})
            else:
                answer = self._usual(line["url"], line["body"])
                done.append(common | {"response": {"status_code": 200, "body": answer}})
        batch["request_counts"] = {"total": len(done) + len(failed), "completed": len(done), "failed": len(failed)}
        self.fails, self.unanswered = {}, set()
        for key, lines in (("output_file_id", done), ("error_file_id", failed)):
            if lines:
                batch[key] = f"file-{len(self._files)}"
                self._files[batch[key]] = "\n".join(json.dumps(line) for line in lines) + "\n"


def form(raw: bytes, content_type: str) -> dict[str, Any]:
    """The fields of a multipart form as text, and its images as bytes."""
    message = email.message_from_bytes(b"Content-Type: " + content_type.encode() + b"\r\n\r\n" + raw)
    fields: dict[str, Any] = {}
    for part in message.get_payload():
        content = part.get_payload(decode=True)
        is_image = part.get_content_maintype() == "image"
        fields[str(part.get_param("name", header="content-disposition"))] = content if is_image else content.decode()
    return fields


def _file(name: str, purpose: str) -> dict[str, Any]:
    return {
        "id": name,
        "object": "file",
        "bytes": 0,
        "created_at": 0,
        "filename": "requests.jsonl",
        "purpose": purpose,
        "status": "processed",
    }
