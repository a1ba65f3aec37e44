"""The example run on the example cluster, and KubeRay's CRDs where they are."""

import os
from copy import deepcopy
from pathlib import Path

import pytest

from spti_ray.config.loading import load_config
from spti_ray.kubernetes.render import render_manifests
from spti_ray.kubernetes.settings import load_cluster

ROOT = Path(__file__).parents[3]
EXAMPLE = ROOT / "cluster" / "example"
CRDS = Path(os.environ.get("KUBERAY_CRDS", ROOT.parent / "shared" / "crds"))


@pytest.fixture(scope="session")
def run_config():
    return load_config(EXAMPLE / "run.yaml")


@pytest.fixture(scope="session")
def cluster():
    return load_cluster(EXAMPLE / "cluster.yaml")


@pytest.fixture(scope="session")
def rendered(run_config, cluster):
    return {kind: render_manifests(run_config, cluster, kind) for kind in ("job", "cluster")}


@pytest.fixture
def job(rendered):
    return deepcopy(rendered["job"]["rayjob.yaml"])


@pytest.fixture
def ray_cluster(rendered):
    return deepcopy(rendered["cluster"]["raycluster.yaml"])


@pytest.fixture(scope="session")
def crds_if_there():
    """For tests of more than schemas, which must not be skipped without them."""
    return CRDS if CRDS.is_dir() else None


@pytest.fixture(scope="session")
def crds():
    if not CRDS.is_dir():
        pytest.skip("KubeRay's CRDs are not here; set KUBERAY_CRDS to their folder")
    return CRDS
