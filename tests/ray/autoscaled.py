"""A head alone, with Ray's autoscaler and fake nodes: of the kinds, and with the patience, of rendered manifests."""

import json
import os
from collections import Counter
from contextlib import suppress

import psutil
from ray.autoscaler._private.fake_multi_node.node_provider import FAKE_HEAD_NODE_ID, FAKE_HEAD_NODE_TYPE

from spti_ray.config.loading import load_config
from spti_ray.io.files import write_atomic
from spti_ray.kubernetes.autoscaler import autoscaler_options
from spti_ray.kubernetes.groups import ROLE_LABEL, worker_groups
from spti_ray.kubernetes.settings import Cluster as KubernetesCluster
from spti_ray.models.factory import engines_config
from tests.ray.head import ROOT, Cluster, free_port

GIVEN_UP_AFTER_S = 10
"""A node that has not joined Ray by then; one that comes is there when it is granted."""

IDLE_S = 5
STORE_BYTES = 80_000_000
COMMANDS = ("setup", "head_setup", "worker_setup", "initialization", "head_start_ray", "worker_start_ray")

KUBERNETES = KubernetesCluster.model_validate(
    {
        "image": "registry.example.org/spti-ray:1",
        "out": "/runs/one",
        "runs": {"path": "/runs", "claim": "runs"},
        "gpus": {kind: {"node_selector": {"gpu": kind}} for kind in ("L40S", "H100")},
        "spot": {"node_selector": {"market": "spot"}},
    }
)


def engine(role, **settings):
    """A SIMULATED engine."""
    return {"kind": f"fake-{role.replace('_', '-')}", "model": "SIMULATED", **settings}


ENGINES = {
    "writer": engine("writer"),
    "renderer": engine("renderer", num_gpus=1, accelerators=["L40S", "H100"], max_replicas=2),
    "image_embedder": engine("image_embedder"),
}
"""On GPUs in name only."""


CONFIG = load_config(ROOT / "jobs" / "stickers.yaml", [f"runtime.engines={json.dumps(ENGINES)}", "runtime.shards=1"])
GROUPS = worker_groups(CONFIG, engines_config(CONFIG.runtime.engines), KUBERNETES)
LABELS = {role: {ROLE_LABEL: group.role} for group in GROUPS for role in group.roles}
"""`runtime.node_labels`"""


class Autoscaled(Cluster):
    """From zero nodes, of which it starts those that a run asks for."""

    def prepare(self):
        self._never_come = self.folder / "never-come"
        self.never_come()
        file = self.folder / "autoscaler.json"
        file.write_text(json.dumps(self._settings()))
        self.options = (
            "--num-cpus=0",
            "--include-dashboard=false",
            f"--object-store-memory={STORE_BYTES}",
            f"--autoscaling-config={file}",
        )
        patience = {entry["name"]: entry["value"] for entry in autoscaler_options(KUBERNETES, GIVEN_UP_AFTER_S)["env"]}
        self.started_with = patience | {
            "RAY_FAKE_CLUSTER": "1",
            "RAY_enable_autoscaler_v2": "1",
            "RAY_CLOUD_INSTANCE_ID": FAKE_HEAD_NODE_ID,
            "RAY_OVERRIDE_NODE_ID_FOR_TESTING": FAKE_HEAD_NODE_ID,
            "RAY_NODE_TYPE_NAME": FAKE_HEAD_NODE_TYPE,
            "AUTOSCALER_UPDATE_INTERVAL_S": "1",
            "AUTOSCALER_METRIC_PORT": str(free_port()),
            # Where it finds the fake nodes.
            "PYTHONPATH": os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")])),
        }

    def is_up(self):
        return "block forever" in (self.folder / "head.log").read_text()

    def never_come(self, *kinds):
        """From now on, a node of these kinds is granted and never joins."""
        write_atomic(self._never_come, "\n".join(kinds).encode())

    def nodes(self):
        """How many nodes of each kind there are, beside the head."""
        return Counter(kind for _, kind in self._raylets())

    def kill_node(self, role):
        """Kill -9 all processes of a node of this role; whether there was one."""
        for raylet, kind in self._raylets():
            if kind.startswith(role):
                for process in [raylet, *raylet.children(recursive=True)]:
                    with suppress(psutil.Error):
                        process.kill()
                return True
        return False

    def _raylets(self):
        for process in self._children():
            with suppress(psutil.Error):
                # One that is about to end has no environment any more.
                kind = process.environ().get("RAY_NODE_TYPE_NAME") if process.name() == "raylet" else None
                if kind not in (None, FAKE_HEAD_NODE_TYPE):
                    yield process, kind

    def _settings(self):
        head = {"resources": {"CPU": 0}, "node_config": {}, "max_workers": 0}
        return {
            "cluster_name": "fake",
            "provider": {
                "type": "external",
                "module": "tests.ray.fake_nodes.FakeNodes",
                "gcs_address": self.ray_address,
                "head_node_id": FAKE_HEAD_NODE_ID,
                "launch_multiple": True,
                "disable_node_updaters": True,
                "never_come": str(self._never_come),
            },
            "max_workers": 20,
            "upscaling_speed": 1,
            # What the autoscaler asks of settings of nodes that it would have to set up.
            **{f"{what}_commands": [] for what in COMMANDS},
            "auth": {},
            "file_mounts": {},
            "cluster_synced_files": [],
            "head_node_type": FAKE_HEAD_NODE_TYPE,
            "available_node_types": {FAKE_HEAD_NODE_TYPE: head} | {group.name: _node_type(group) for group in GROUPS},
        }


def _node_type(group):
    return {
        "resources": {"CPU": group.cpus, "GPU": group.gpus, "object_store_memory": STORE_BYTES},
        "labels": group.labels,
        "min_workers": 0,
        "max_workers": group.most,
        "priority": group.priority,
        "idle_timeout_s": IDLE_S,
        "node_config": {},
    }
