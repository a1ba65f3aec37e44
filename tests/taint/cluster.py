"""A Ray cluster of the taint test's own that outlives the drivers that join it, and what it shows to who asks."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
PYTHONPATH = os.pathsep.join(
    [str(ROOT / "tests" / "taint" / "site"), *filter(None, [os.environ.get("PYTHONPATH")]), str(ROOT)]
)
"""Lets a process plant the faults at its start, and find the engines."""

_HOST = """
import logging, sys, ray
joined = ray.init(address="local", num_cpus=8, _temp_dir=sys.argv[1], include_dashboard=False, log_to_driver=False,
                  object_store_memory=200_000_000, logging_level=logging.ERROR)
print("at", joined.address_info["gcs_address"], flush=True)
sys.stdin.read()
ray.shutdown()
"""


def environment(home: Path) -> dict[str, str]:
    """Of all processes: every Python logger and Ray's own log at DEBUG, faults as `home`/faults.json says."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith("RAY_")}
    return kept | {
        "TAINT_HOME": str(home),
        "PYTHONPATH": PYTHONPATH,
        "RAY_BACKEND_LOG_LEVEL": "debug",
        "RAY_enable_export_api_write": "1",
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_AUTH_MODE": "disabled",
        "HF_HUB_OFFLINE": "1",
    }


@dataclass(frozen=True)
class Cluster:
    process: subprocess.Popen[str]
    address: str
    folder: Path

    @staticmethod
    def start(folder: Path, home: Path) -> Cluster:
        """`folder` must have a short path: Ray puts sockets into it."""
        process = subprocess.Popen(
            [sys.executable, "-c", _HOST, str(folder)],
            env=environment(home),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        assert process.stdout is not None
        for line in process.stdout:
            if line.startswith("at "):
                return Cluster(process, line.split()[1], folder)
        raise RuntimeError("Ray did not start")

    def stop(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()
        try:
            self.process.wait(60)
        except subprocess.TimeoutExpired:
            self.process.kill()


def shown_by(address: str) -> dict[str, str]:
    """What Ray's state API, and so `ray list` and the dashboard, can show of all jobs: read from the GCS directly."""
    from google.protobuf import text_format
    from ray._private.grpc_utils import init_grpc_channel
    from ray.core.generated import gcs_service_pb2 as messages
    from ray.core.generated import gcs_service_pb2_grpc as services

    with init_grpc_channel(address, [("grpc.max_receive_message_length", 2**29)]) as channel:
        replies: dict[str, Any] = {
            "tasks": services.TaskInfoGcsServiceStub(channel).GetTaskEvents(messages.GetTaskEventsRequest()),
            "actors": services.ActorInfoGcsServiceStub(channel).GetAllActorInfo(messages.GetAllActorInfoRequest()),
            "workers": services.WorkerInfoGcsServiceStub(channel).GetAllWorkerInfo(messages.GetAllWorkerInfoRequest()),
            "jobs": services.JobInfoGcsServiceStub(channel).GetAllJobInfo(messages.GetAllJobInfoRequest()),
        }
    return {name: text_format.MessageToString(reply, as_utf8=True) for name, reply in replies.items()}
