"""The archive of `make test-gpu`: small enough, and it imports and runs where neither Ray nor vLLM is installed."""

import os
import re
import subprocess
import sys
import tarfile
import tomllib

import pytest
from packaging.requirements import Requirement

from tests.gpu.pack import LARGEST, ROOT, pack

ABSENT = [
    "ray", "vllm", "opendp", "dp_accounting", "typer", "openai", "matplotlib", "sklearn", "scipy",
    "greenlet", "aiohttp", "jsonschema", "moto", "torchmetrics", "peft", "opacus", "mistral_common",
]  # fmt: skip
"""Neither in tests/gpu/requirements.txt nor needed by what is."""

BLOCKED = f"import sys\nsys.modules.update(dict.fromkeys({ABSENT!r}))\n"
"""Importing one of them fails as if it were not installed."""

USED = """
import spti_ray.bench.votes, spti_ray.models.factory, spti_ray.models.diffusers_renderer, spti_ray.models.embedders
import spti_ray.models.transformers_captioner, spti_ray.models.chat_captioner, spti_ray.models.gpu_share
import spti_ray.private.device, spti_ray.private.top_k, tests.gpu.engines, tests.tiny_models, tests.tiny_pipelines
print(spti_ray.models.factory.__file__)
"""


@pytest.fixture(scope="module")
def unpacked(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pack")
    archive = folder / "pack.tar.gz"
    assert pack(archive) == archive.stat().st_size <= LARGEST == 60_000_000
    with tarfile.open(archive) as packed:
        packed.extractall(folder / "there", filter="data")
    return folder / "there"


def there(unpacked, code, *arguments, **variables):
    """Run code in the unpacked folder, by a Python that finds this package there alone."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"} | variables
    command = [sys.executable, "-c", f"import sys\nsys.path.insert(0, '')\n{BLOCKED}{code}", *arguments]
    return subprocess.run(
        command, cwd=unpacked, env=environment, capture_output=True, text=True, timeout=500, check=False
    )


def test_what_it_needs_imports_without_ray_and_vllm(unpacked):
    done = there(unpacked, USED)
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.strip() == str(unpacked / "spti_ray/models/factory.py")


def test_that_check_can_fail(unpacked):
    done = there(unpacked, "import spti_ray.runtime.ray.launch")
    assert done.returncode != 0 and "import of ray halted" in done.stderr


@pytest.mark.slow
def test_its_tests_run_on_the_cpu_and_leave_no_figures(unpacked):
    run = "import pytest\nsys.exit(pytest.main(sys.argv[1:]))"
    arguments = ["-c", "tests/gpu/pytest.ini", "--rootdir", ".", "--confcutdir", "tests/gpu", "tests/gpu"]
    variables = {"SPTI_TEST_DEVICE": "cpu", "SPTI_GPU_FIGURES": "gpu.json", "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    done = there(unpacked, run, *arguments, **variables)
    assert done.returncode == 0, done.stdout[-4000:]
    assert int(re.search(r"(\d+) passed", done.stdout)[1]) >= 12
    assert "needs vLLM" in done.stdout or "needs a GPU" in done.stdout
    assert not (unpacked / "gpu.json").exists()


def test_the_list_of_wheels_has_the_package_s_own_versions():
    lines = (ROOT / "tests/gpu/requirements.txt").read_text().splitlines()
    listed = {Requirement(line).name: Requirement(line) for line in lines if line and not line.startswith("#")}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    known = [*project["dependencies"], *project["optional-dependencies"]["dev"]]
    own = {Requirement(line).name: Requirement(line) for line in known}
    assert {name: str(line.specifier) for name, line in listed.items()} == {
        name: str(own[name].specifier) for name in listed
    }
    assert not {name.replace("-", "_") for name in listed} & set(ABSENT)


def test_a_model_that_is_not_bundled_and_an_archive_that_is_too_large_are_refused(tmp_path, monkeypatch):
    with pytest.raises(ValueError, match="--models nothing: there is no such bundled model"):
        pack(tmp_path / "a.tar.gz", ("nothing",))
    monkeypatch.setattr("tests.gpu.pack.LARGEST", 1000)
    with pytest.raises(ValueError, match=r"MB, over 0 MB; name fewer"):
        pack(tmp_path / "a.tar.gz", ("sticker-clip",))
    assert list(tmp_path.iterdir()) == []
