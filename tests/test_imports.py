"""Who may import whom (docs/imports.md), read from the source of every file, nested imports too."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

from tests.import_rules import BASE, MAY_IMPORT, NOWHERE, ONLY_IN, SUBPACKAGES

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "spti_ray"


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


def is_part(name: str, of: str) -> bool:
    """Whether module or package `name` is `of` or lies in it."""
    return f"{name}.".startswith(f"{of}.")


def row_of(module: str) -> str:
    """The row of the table that a module, such as `runtime.ray.launch`, belongs to: its package, or a part of that."""
    return next((part for part in SUBPACKAGES if is_part(module, part)), module.partition(".")[0])


def allowed_for(row: str) -> tuple[str, ...]:
    """What the modules of a row may import of spti_ray."""
    base = BASE[: BASE.index(row)] if row in BASE else BASE
    return (row, *base, *MAY_IMPORT.get(row, ()))


def violations(source: str, name: str) -> list[str]:
    """Imports in `source` that break a rule; `name` is the module's dotted name, such as `spti_ray.public.prompts`."""
    module = name.partition(".")[2]
    row = row_of(module)
    if row and row not in MAY_IMPORT and row not in BASE:
        return [f"{name}: no rule says what `{row}` may import; add it to MAY_IMPORT"]
    found: list[str] = []
    for line, target in imported(source, name.rpartition(".")[0]):
        library, _, rest = target.partition(".")
        if library == "spti_ray":
            # `from spti_ray import __version__` names no module. A part with a row of its own is not its package's.
            is_allowed = (
                not rest
                or rest == "__version__"
                or any(
                    is_part(rest, part) and (part == rest or row_of(rest) in (part, row_of(part)))
                    for part in allowed_for(row)
                )
            )
        else:
            places = ONLY_IN.get(library)
            is_allowed = library not in NOWHERE and (places is None or any(is_part(module, p) for p in places))
        if not is_allowed:
            found.append(f"{name}:{line} may not import {target}")
    return found


def modules() -> dict[str, Path]:
    names: dict[str, Path] = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        names[".".join(parts)] = path
    return names


def test_no_two_packages_import_each_other():
    order = TopologicalSorter({row: {row_of(part) for part in MAY_IMPORT[row]} - {row} for row in MAY_IMPORT})
    assert list(order.static_order())


def test_the_table_has_no_row_and_no_entry_that_nothing_needs():
    used: dict[str, set[str]] = {row: set() for row in MAY_IMPORT}
    for name, path in modules().items():
        row = row_of(name.partition(".")[2])
        if row in used:
            targets = (target.partition(".")[2] for _, target in imported(path.read_text(encoding="utf-8"), name))
            used[row] |= {part for target in targets for part in MAY_IMPORT[row] if is_part(target, part)}
    assert {row: set(MAY_IMPORT[row]) - used[row] for row in used if set(MAY_IMPORT[row]) - used[row]} == {}


def test_every_module_imports_only_what_it_may():
    files = modules()
    assert len(files) > 30
    found = [line for name, path in files.items() for line in violations(path.read_text(encoding="utf-8"), name)]
    assert found == []


@pytest.mark.parametrize("path", sorted((ROOT / "jobs").rglob("*.py")), ids=lambda path: path.name)
def test_jobs_import_only_settings_and_the_driver(path):
    allowed = {
        "cli", "config", "driver", "errors", "evaluate", "finetuning", "io", "planning", "release", "runtime",
    }  # fmt: skip
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
        ("spti_ray.public.prompts", "from spti_ray.evolution.private_evolution import evolve"),
        ("spti_ray.private.shard", "from spti_ray.public.scoring import Scoring"),
        ("spti_ray.private.shard", "from spti_ray.dp import gate as g"),
        ("spti_ray.dp.gate", "from spti_ray.models.factory import build"),
        ("spti_ray.dp.gate", "from spti_ray.private.voting import vote"),
        ("spti_ray.models.fakes", "from spti_ray.public.engines import Engines"),
        ("spti_ray.evolution.private_evolution", "from spti_ray.private.shard import Shard"),
        ("spti_ray.evolution.private_evolution", "from spti_ray.runtime.scheduling.pool import Pool"),
        ("spti_ray.public.scoring", "def f():\n    if True:\n        from spti_ray.private import shard"),
        ("spti_ray.public.scoring", "import importlib\nimportlib.import_module('spti_ray.private.shard')"),
        ("spti_ray.public.scoring", "__import__('ray')"),
        ("spti_ray.public.scoring", "try:\n    import ray.data\nexcept ImportError:\n    pass"),
        ("spti_ray.public.scoring", "def f():\n    import torch.nn as nn"),
        ("spti_ray.private.shard", "from transformers import AutoModel"),
        ("spti_ray.models.fakes", "import ray"),
        ("spti_ray.runtime.ray.launch", "import vllm"),
        ("spti_ray.public.scoring", "from opendp.measurements import make_gaussian"),
        ("spti_ray.io.files", "from spti_ray.public.scoring import Scoring"),
        ("spti_ray.config.loading", "from spti_ray.models.factory import build"),
        ("spti_ray.release.report.build", "from spti_ray.private.dataset import load"),
        ("spti_ray.release.report.build", "from spti_ray.dp.gate import Gate"),
        ("spti_ray.release.report.build", "from spti_ray import dp"),
        ("spti_ray.public.rendering", "from spti_ray.finetuning.dp_finetune import finetune"),
        ("spti_ray.evolution.private_evolution", "from spti_ray import baselines"),
        ("spti_ray.methods.spti", "from spti_ray.public.scoring import Scoring"),
        ("spti_ray.methods.spti", "from spti_ray.config import Config"),
        ("spti_ray.finetuning.dp_sgd", "from spti_ray.dp.gate import Gate"),
        ("spti_ray.private.shard", "import opacus"),
        ("spti_ray.runs.folder", "import pickle"),
        ("spti_ray.runtime.ray.cluster", "import cloudpickle"),
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
        ("spti_ray.runtime.ray.launch", "import ray\nimport ray.exceptions\nfrom spti_ray.private.shard import Shard"),
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
    assert (
        loaded_by(
            "import spti_ray.planning.recommend, spti_ray.planning.plan, spti_ray.config.loading, spti_ray.errors",
            heavy,
        )
        == []
    )


def test_the_private_side_and_the_gate_load_no_model_library():
    heavy = ["ray", "torch", "vllm", "transformers", "diffusers"]
    assert (
        loaded_by("import spti_ray.private.shard, spti_ray.dp.gate, spti_ray.evolution.private_evolution", heavy) == []
    )


def test_a_renderer_is_imported_without_all_of_diffusers_pipelines():
    """They would be half of its start."""
    pytest.importorskip("diffusers", reason="needs the cpu or gpu extra")
    names = ["diffusers", "diffusers.pipelines.auto_pipeline", "diffusers.pipelines.flux.pipeline_flux"]
    assert loaded_by("import spti_ray.models.diffusers_renderer", names) == ["diffusers"]
