"""Submits a run to a Ray cluster as a job, follows it, and never starts a second one beside it.

The configuration, which is public, travels as the job's working folder. Everything else must be where all nodes see it:
in a bucket, or under an absolute path of a shared volume.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import shlex
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from ray.exceptions import AuthenticationError
from ray.job_submission import JobStatus, JobSubmissionClient

from spti_ray.config import Config
from spti_ray.config.identity import config_sha256, resolved
from spti_ray.config.job_paths import check_shared
from spti_ray.io.urls import redacted_address

_ANSWERS_WITHIN_S = 25.0
_SILENT_S = 300.0
"""A head that does not answer for so long is given up. It may have been started anew in the meantime."""

_AGAIN_S = 1.0
_UNDER_WAY = (JobStatus.PENDING, JobStatus.RUNNING)


class NotSubmitted(RuntimeError):
    """A cluster that does not take the job; the message is one line with what to do."""


class NotFollowed(RuntimeError):
    """A cluster that does not answer any more; one line. What became of the job is not known."""


@dataclass(frozen=True)
class Attempt:
    """A job on the cluster. `joined`: it was there already."""

    submission_id: str
    joined: bool


def connect(address: str) -> JobSubmissionClient:
    """A client of the cluster whose dashboard is at `address` (http://head:8265). Raises NotSubmitted within 25 s."""
    # Ray tells of its uploads and sockets.
    logging.getLogger("ray").setLevel(logging.ERROR)
    shown = redacted_address(address)
    found: list[JobSubmissionClient | BaseException] = []

    def ask() -> None:
        try:
            found.append(JobSubmissionClient(address))
        except BaseException as error:  # noqa: BLE001 whatever the HTTP client meets
            found.append(error)

    # Ray gives its first question no time limit: a port that takes connections and never answers would hold us.
    asking = threading.Thread(target=ask, daemon=True)
    asking.start()
    asking.join(_ANSWERS_WITHIN_S)
    if not found:
        raise NotSubmitted(f"{shown} does not answer within {_ANSWERS_WITHIN_S:g} s; expected http://HEAD:8265")
    client = found[0]
    if isinstance(client, AuthenticationError):
        raise NotSubmitted(
            f"{shown} wants another token: set RAY_AUTH_MODE=token and RAY_AUTH_TOKEN (or RAY_AUTH_TOKEN_PATH)"
        )
    if isinstance(client, BaseException):
        raise NotSubmitted(
            f"{shown} does not answer as a Ray dashboard does ({type(client).__name__}); expected http://HEAD:8265"
        )
    return client


def submit(client: Any, config: Config, out: str) -> Attempt:
    """Start the run on the cluster, or join the attempt at it that is under way.

    A run is known by its folder and what it computes; its attempts are numbered, and two of one number can't be.

    Raises: ConfigError (paths), NotSubmitted.
    """
    check_shared(config, out)
    prefix = f"spti-{hashlib.sha256(f'{out} {config_sha256(config)}'.encode()).hexdigest()[:16]}-"
    numbers = [0]
    for job in client.list_jobs():
        if (job.submission_id or "").startswith(prefix):
            if job.status in _UNDER_WAY:
                return Attempt(job.submission_id, joined=True)
            numbers.append(int(job.submission_id.removeprefix(prefix)))
    submission_id = f"{prefix}{max(numbers) + 1}"
    with tempfile.TemporaryDirectory(prefix="spti-submit-") as folder:
        (Path(folder) / "run.yaml").write_text(yaml.safe_dump(resolved(config), allow_unicode=True, sort_keys=False))
        try:
            client.submit_job(
                entrypoint=shlex.join(["spti", "run", "run.yaml", "--out", out]),
                submission_id=submission_id,
                runtime_env={"working_dir": folder},
            )
        except (RuntimeError, ValueError) as error:
            if "already exists" in str(error):
                # Somebody submitted the same in this moment.
                return Attempt(submission_id, joined=True)
            raise NotSubmitted(f"the cluster refused the job ({type(error).__name__}); see its dashboard") from None
    return Attempt(submission_id, joined=False)


def follow(client: Any, submission_id: str, write: Callable[[str], None]) -> int:
    """Write the job's log as it comes, and return the exit code of its entry point (1 if that is not known).

    A connection that breaks is made again, and the log goes on where it stopped.

    Raises:
        NotFollowed: the cluster has not answered for minutes. The job may go on all the same.
    """
    written = 0
    silent_since: float | None = None

    async def tail() -> None:
        nonlocal written, silent_since
        position = 0
        async for lines in client.tail_job_logs(submission_id):
            silent_since = None
            # A log is told from its beginning each time.
            new = lines[max(0, written - position) :]
            position += len(lines)
            if new:
                write(new)
                written = position

    while True:
        try:
            asyncio.run(tail())
            info = client.get_job_info(submission_id)
        except Exception as error:  # noqa: BLE001 whatever the HTTP client meets
            silent_since = silent_since or time.monotonic()
            if time.monotonic() - silent_since > _SILENT_S:
                raise NotFollowed(
                    f"the cluster has not answered for {_SILENT_S / 60:g} minutes ({type(error).__name__}); job "
                    f"{submission_id} may go on: the same command follows it again"
                ) from None
        else:
            silent_since = None
            if info.status == JobStatus.SUCCEEDED:
                return 0
            if info.status not in _UNDER_WAY:
                return info.driver_exit_code or 1
        time.sleep(_AGAIN_S)


def stop(client: Any, submission_id: str) -> None:
    """End the job, as `ray job stop` does. Raises NotFollowed if the cluster does not answer."""
    try:
        client.stop_job(submission_id)
    except Exception as error:  # noqa: BLE001
        raise NotFollowed(f"the job could not be told to stop ({type(error).__name__}): {submission_id}") from None
