"""docs/how-to/slurm.md, with everything real but SLURM: two nodes that only share a network and a folder.

Each "node" has its own network, processes and temporary folder (Linux namespaces, which only root may make), because
`ray symmetric-run` ends with `ray stop`, which would stop whatever else runs on the machine.
"""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.conftest import ROOT, SMALL
from tests.snippets import blocks

HEAD, OTHER = "10.199.77.1", "10.199.77.2"

ON_TWO = (
    "evolution.voting=image",
    "runtime.engines.writer={kind: fake-writer, model: SIMULATED, num_cpus: 2}",
    "runtime.engines.renderer={kind: fake-renderer, model: SIMULATED, num_cpus: 0.1}",
    "runtime.engines.image_embedder={kind: fake-image-embedder, model: SIMULATED, num_cpus: 0.1}",
)
"""Engines that do not fit on one node of two CPUs."""


def srun() -> str:
    """What the document's script has `srun` start on each node."""
    (script,) = blocks(ROOT / "docs" / "how-to" / "slurm.md", "bash")
    line = next(line for line in script.replace("\\\n", " ").splitlines() if line.startswith("srun "))
    return line.removeprefix("srun ")


@pytest.fixture
def nodes() -> Iterator[tuple[str, str]]:
    """Names of two network namespaces that reach one another and nothing else."""
    first, second = names = (f"spti-{os.getpid()}-a", f"spti-{os.getpid()}-b")
    a, b = f"sp{os.getpid()}a", f"sp{os.getpid()}b"
    made = [f"ip netns add {name}" for name in names]
    made += [f"ip link add {a} netns {first} type veth peer name {b} netns {second}"]
    for name, device, address in ((first, a, HEAD), (second, b, OTHER)):
        made += [f"ip -n {name} link set {device} up", f"ip -n {name} addr add {address}/24 dev {device}"]
        made += [f"ip -n {name} link set lo up"]
    try:
        for command in made:
            try:
                subprocess.run(command.split(), check=True, capture_output=True)
            except (OSError, subprocess.CalledProcessError):
                pytest.skip("needs root and iproute2, to make network namespaces")
        yield names
    finally:
        for name in names:
            subprocess.run(["ip", "netns", "delete", name], check=False, capture_output=True)


@pytest.mark.slow
def test_the_script_for_slurm_runs_a_configuration_on_two_nodes(nodes, tmp_path):
    settings = (*(setting for setting in SMALL if not setting.startswith(("runtime.engines=", "evolution.voting="))),)
    settings += (f"ledger.path={tmp_path}/ledger", *ON_TWO)
    more = shlex.join(f"--set={setting}" for setting in settings)
    command = srun().replace("my.yaml", "bundled:stickers").replace("/shared/runs/mine", f"{tmp_path}/run")
    command = f"{command} {more}".replace(" -- spti", f" --num-cpus=2 -- {sys.executable} -m spti_ray.cli")
    short = Path(tempfile.mkdtemp(prefix="spti-"))  # sockets lie in it, whose paths may not be long
    environment = os.environ | {
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
        "head": HEAD,
        "RAY_TMPDIR": str(short),
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN": "a" * 64,
        "RAY_SYMMETRIC_RUN_CLUSTER_WAIT_TIMEOUT": "120",
        "RAY_ADDRESS": "",
    }
    mount = "mount -t tmpfs tmpfs $RAY_TMPDIR"
    started = [
        subprocess.Popen(
            ["ip", "netns", "exec", node, "unshare", "--pid", "--fork", "--kill-child", "--mount", "--mount-proc"]
            # The shell stays, as the first process: it takes leave of what ends, for which `ray stop` waits.
            + ["bash", "-c", f"{mount} && {command}; exit $?"],
            cwd=tmp_path,
            env=environment,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        for node in nodes
    ]
    try:
        told = started[0].communicate(timeout=240)[0]
        assert started[0].returncode == 0, told
        assert len(list((tmp_path / "run" / "release" / "images").glob("*.png"))) == 16, told
        assert json.loads((tmp_path / "run" / "release" / "privacy.json").read_text())["epsilon"] == 2.0
    finally:
        for process in started:
            process.kill()
            process.wait()
        short.rmdir()
