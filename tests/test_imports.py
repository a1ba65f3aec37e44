"""Who may import whom (docs: the design's import rules), read from the source of every file, nested imports too."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "spti_ray"

BASE = {
    "types", "config", "config_identity", "endpoints", "errors", "figures", "files", "ledger_location", "places",
    "urls",
}  # fmt: skip
"""May be imported by all, and import nothing but one another."""

MAY_IMPORT: dict[str, set[str]] = {
    "__init__": {"api"},
    "api": {"actors", "config_load", "rundir"},
    **{name: set() for name in BASE},
    "models": set(),
    "private": {"models"},
    "public": {"models"},
    "dp": set(),
    "evolve": {"public", "dp"},
    # Settings, and what is reckoned from settings alone.
    "config_load": set(),
    "workload": set(),
    "hints": {"config_load", "models"},
    "planning": {"config_load", "hints", "job_paths", "ledger_place", "models", "dp", "public", "workload"},
    # Whether places are where they may be, before anything is in them; and whether charges are in the named ledger.
    "job_paths": {"config_load"},
    "ledger_place": {"dp", "rundir"},
    "starter": {"config_load", "public", "recommend"},
    "recommend": {"config_load", "dp", "planning", "workload"},
    # What a run would cost: counts from settings, rates from files; of the actors, which roles there are.
    "costs": {"actors.placement", "config_load", "models", "public", "rundir", "workload"},
    # The gate and the votes, attacked with canaries instead of images.
    "audit": {"dp", "private"},
    # From a finished run to one that starts from it.
    "origin": {"config_load", "dp", "public", "rundir"},
    "refine": {"config_load", "models", "origin"},
    # Two runs side by side, from their files.
    "compare": {"config_load", "public", "rundir"},
    # From a release and its ledger to the proof of each field; and certificates made anew.
    "verify": {"config_load", "dp", "public", "rundir"},
    "status": {"config_load", "dp", "rundir"},
    "certify": {"config_load", "dp", "public", "report", "rundir"},
    "plotting": set(),
    "progress": set(),
    "timings": set(),
    "timeline": set(),
    # A run's folder holds public values and noised counts.
    "rundir": {"config_load", "public"},
    "ledger_view": {"dp"},
    "actors": {
        "baselines", "config_load", "dp", "evolve", "hints", "job_paths", "ledger_place", "models", "origin",
        "planning", "private", "progress", "public", "report", "rundir", "timeline", "timings", "workload",
    },
    # DP fine-tuning: beside the votes and the gate, of which it knows only what a step of DP-SGD costs.
    "baselines": {"config_load", "dp.subsampled", "models", "private"},
    # Measures images against the private ones, and tells the ledger so; no run and no release can reach it.
    "evaluate": {"config_load", "dp", "models", "private", "rundir"},
    # What leaves: a release and nothing else of a run.
    "export": {"public", "rundir"},
    # Of the gate, only its noised artifacts.
    "report": {"config_load", "dp.artifact", "plotting", "public", "rundir"},
    "installed": set(),
    "doctor": {"actors", "dp", "installed", "models"},
    # How much of the machines' time reaches the engines; votes on random vectors.
    "bench": {"actors", "config_load", "models", "plotting", "private", "public", "timeline"},
    # What Kubernetes is told; of the actors, how a run is split into bundles.
    "manifest": {"actors.placement", "config_load", "job_paths", "models"},
    "cli": {
        "actors", "audit", "certify", "cli_bench", "cli_common", "cli_evaluate", "cli_export", "cli_init", "cli_ledger",
        "cli_manifest", "cli_refine", "cli_submit", "config_load", "costs", "doctor", "job_paths", "planning",
        "recommend", "report", "rundir", "status", "verify",
    },
    "cli_bench": {"bench", "cli_common", "config_load", "models"},
    "cli_common": set(),
    "cli_evaluate": {"cli_common", "evaluate"},
    "cli_export": {"cli_common", "export"},
    "cli_refine": {"actors", "cli_common", "compare", "refine"},
    # Before there is a run: nothing of it may reach the private side.
    "cli_init": {"cli_common", "config_load", "models", "public", "starter"},
    "cli_ledger": {"cli_common", "config_load", "ledger_view", "rundir"},
    "cli_manifest": {"cli_common", "config_load", "manifest"},
    "cli_submit": {"actors", "cli_common", "config_load"},
}  # fmt: skip
"""Package or module of spti_ray: which packages or modules it may import beside itself and BASE."""

ONLY_IN: dict[str, set[str]] = {
    "ray": {"actors"},
    "torch": {"baselines", "models", "doctor"},  # doctor asks it which devices there are
    "vllm": {"models"},
    "diffusers": {"baselines", "models"},
    "openai": {"models"},
    "opacus": {"baselines"},
    "peft": {"baselines"},
    "transformers": {"models"},
    "opendp": {"dp"},
    "dp_accounting": {"dp"},
    "matplotlib": {"plotting"},
    "typer": {
        "cli",
        "cli_bench",
        "cli_common",
        "cli_evaluate",
        "cli_export",
        "cli_init",
        "cli_ledger",
        "cli_manifest",
        "cli_refine",
        "cli_submit",
    },
    "obstore": {"dp"},
    "lmdb": {"private"},
    "datasets": {"export"},
    "sklearn": {"evaluate"},
    "jsonschema": {"manifest"},
}
"""Library: the only packages that may import it."""

NOWHERE = {"pickle", "cloudpickle", "dill", "joblib", "shelve", "marshal"}
"""Artifacts are Arrow, JSON, PNG or safetensors: never pickle."""


def imported(source: str, package: str) -> Iterator[tuple[int, str]]:
    """(line, full dotted name) of all imports in `source`, a module of `package` (such as `spti_ray.public`)."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node.lineno, alias.name
        elif isinstance(node, ast.ImportFrom):
            parents = package.split(".")
            base = ".".join(parents[: len(parents) - node.level + 1]) if node.level else ""
            module = ".".join(part for part in (base, node.module) if part)
            for alias in node.names:
                yield node.lineno, f"{module}.{alias.name}"
        elif isinstance(node, ast.Call) and node.args and isinstance(node.args[0], ast.Constant):
            function = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            if function in {"import_module", "__import__"}:
                yield node.lineno, str(node.args[0].value)


def violations(source: str, name: str) -> list[str]:
    """Imports in `source` that break a rule; `name` is the module's dotted name, such as `spti_ray.public.prompts`."""
    parts = name.split(".")
    here = parts[1] if len(parts) > 1 else ""
    if here and here not in MAY_IMPORT:
        return [f"{name}: no rule says what `{here}` may import; add it to MAY_IMPORT"]
    found: list[str] = []
    for line, target in imported(source, ".".join(parts[:-1])):
        library, _, rest = target.partition(".")
        if library == "spti_ray":
            # `from spti_ray import __version__` names no module.
            allowed = {here, "__version__"} | BASE | MAY_IMPORT.get(here, set())
            is_allowed = not rest or any(f"{rest}.".startswith(f"{name}.") for name in allowed)
        else:
            is_allowed = here in ONLY_IN.get(library, {here}) and library not in NOWHERE
        if not is_allowed:
            found.append(f"{name}:{line} may not import {target}")
    return found


def modules() -> dict[str, Path]:
    names: dict[str, Path] = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        names[".".join(parts)] = path
    return names


def test_every_module_imports_only_what_it_may():
    files = modules()
    assert len(files) > 30
    found = [line for name, path in files.items() for line in violations(path.read_text(encoding="utf-8"), name)]
    assert found == []


@pytest.mark.parametrize("path", sorted((ROOT / "jobs").rglob("*.py")), ids=lambda path: path.name)
def test_jobs_import_only_settings_and_the_driver(path):
    allowed = {
        "actors",
        "baselines",
        "cli",
        "config",
        "config_load",
        "errors",
        "evaluate",
        "files",
        "planning",
        "report",
    }
    if path.parent.name == "embedded":  # trains models, and tries them as the engines they are for
        allowed = {"config", "models"}
    for line, target in imported(path.read_text(encoding="utf-8"), "jobs"):
        parts = target.split(".")
        assert parts[0] != "spti_ray" or parts[1] in allowed, f"{path.name}:{line} may not import {target}"


@pytest.mark.parametrize(
    ("name", "source"),
    [
        ("spti_ray.public.prompts", "from spti_ray.private.dataset import load"),
        ("spti_ray.public.prompts", "from spti_ray import private"),
        ("spti_ray.public.prompts", "import spti_ray.dp.gate"),
        ("spti_ray.public.prompts", "from ..private import dataset"),
        ("spti_ray.public.prompts", "from .. import dp"),
        ("spti_ray.public.prompts", "from spti_ray.evolve import evolve"),
        ("spti_ray.private.shard", "from spti_ray.public.scoring import Scoring"),
        ("spti_ray.private.shard", "from spti_ray.dp import gate as g"),
        ("spti_ray.dp.gate", "from spti_ray.models.factory import build"),
        ("spti_ray.dp.gate", "from spti_ray.private.voting import vote"),
        ("spti_ray.models.fakes", "from spti_ray.public.engines import Engines"),
        ("spti_ray.evolve", "from spti_ray.private.shard import Shard"),
        ("spti_ray.evolve", "from spti_ray.actors.pool import Pool"),
        ("spti_ray.public.scoring", "def f():\n    if True:\n        from spti_ray.private import shard"),
        ("spti_ray.public.scoring", "import importlib\nimportlib.import_module('spti_ray.private.shard')"),
        ("spti_ray.public.scoring", "__import__('ray')"),
        ("spti_ray.public.scoring", "try:\n    import ray.data\nexcept ImportError:\n    pass"),
        ("spti_ray.public.scoring", "def f():\n    import torch.nn as nn"),
        ("spti_ray.private.shard", "from transformers import AutoModel"),
        ("spti_ray.models.fakes", "import ray"),
        ("spti_ray.actors.roles", "import vllm"),
        ("spti_ray.public.scoring", "from opendp.measurements import make_gaussian"),
        ("spti_ray.files", "from spti_ray.public.scoring import Scoring"),
        ("spti_ray.config", "from spti_ray.config_load import load_config"),
        ("spti_ray.report.build", "from spti_ray.private.dataset import load"),
        ("spti_ray.report.build", "from spti_ray.dp.gate import Gate"),
        ("spti_ray.report.build", "from spti_ray import dp"),
        ("spti_ray.public.rendering", "from spti_ray.baselines.dp_finetune import finetune"),
        ("spti_ray.evolve", "from spti_ray import baselines"),
        ("spti_ray.baselines.dp_sgd", "from spti_ray.dp.gate import Gate"),
        ("spti_ray.private.shard", "import opacus"),
        ("spti_ray.rundir", "import pickle"),
        ("spti_ray.actors.pool", "from ray import cloudpickle\nimport cloudpickle"),
        ("spti_ray.helpers", ""),
    ],
)
def test_a_planted_violation_is_found(name, source):
    assert len(violations(source, name)) == 1


@pytest.mark.parametrize(
    ("name", "source"),
    [
        ("spti_ray.public.prompts", "from spti_ray.config import Config\nfrom spti_ray.types import Votes"),
        ("spti_ray.public.prompts", "from .engines import Engines\nfrom . import cleaning\nfrom .. import errors"),
        ("spti_ray.public.prompts", "from spti_ray.models.protocols import Writer"),
        ("spti_ray.actors.pool", "import ray\nimport ray.exceptions\nfrom spti_ray.private.shard import Shard"),
        ("spti_ray.dp.mechanism", "def f():\n    from opendp.mod import enable_features"),
        ("spti_ray.models.vllm_writer", "import torch, vllm"),
        ("spti_ray.cli", "from spti_ray import __version__"),
        ("spti_ray.__init__", "__version__ = '1'"),
        ("spti_ray.public.prompts", "text = 'import ray'  # import ray"),
    ],
)  # fmt: skip
def test_what_is_allowed_is_not_reported(name, source):
    assert violations(source, name) == []


HEAVY = (
    "ray torch vllm numpy pyarrow pandas transformers diffusers opendp dp_accounting matplotlib PIL scipy yaml pydantic"
).split()


def loaded_by(code: str, names: list[str]) -> list[str]:
    """Which of `names` a new Python has loaded after running `code`."""
    check = f"{code}\nimport sys\nprint(*[name for name in {names!r} if name in sys.modules])"
    result = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, timeout=120, cwd=ROOT)
    assert result.returncode == 0, result.stderr
    return result.stdout.split()


def test_the_command_line_starts_without_a_heavy_library():
    assert loaded_by("import spti_ray.cli", HEAVY) == []


def test_that_check_can_fail():
    assert loaded_by("import spti_ray.cli, spti_ray.types", HEAVY) == ["numpy"]


def test_a_configuration_is_planned_without_models_or_ray():
    heavy = ["ray", "torch", "vllm", "transformers", "diffusers", "openai", "matplotlib"]
    assert loaded_by("import spti_ray.recommend, spti_ray.planning, spti_ray.config_load, spti_ray.errors", heavy) == []


def test_the_private_side_and_the_gate_load_no_model_library():
    heavy = ["ray", "torch", "vllm", "transformers", "diffusers"]
    assert loaded_by("import spti_ray.private.shard, spti_ray.dp.gate, spti_ray.evolve", heavy) == []
