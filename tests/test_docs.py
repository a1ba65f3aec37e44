"""The documents say what is: what they name exists, what is made from the code is as it is now, nothing is left out."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import pytest

from docs._site import blocks
from spti_ray.dp.calibration import plan_at
from spti_ray.dp.certificate import certificate
from spti_ray.dp.ledger import Ledger
from spti_ray.methods import METHODS
from spti_ray.private.kinds import Kind
from spti_ray.release.export.formats import WRITERS
from tests.import_rules import MAY_IMPORT
from tests.snippets import DOCUMENTS, ROOT

MADE_UP = {"my_module.py", "MyRenderer"}
"""A reader's own, in examples."""

OF_OTHERS = {
    "BitsPerSample",
    "BlipForConditionalGeneration",
    "BodyPartExamined",
    "BriaPipeline",
    "HiDreamImagePipeline",
    "HunyuanImagePipeline",
    "SanaSprintPipeline",
    "StudyInstanceUID",
}
"""Names of other software's."""

OF_THE_PROJECT = [path for path in DOCUMENTS if ROOT / "jobs" not in path.parents]
PRIVACY = (ROOT / "docs" / "privacy.md").read_text(encoding="utf-8")
ARCHITECTURE = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")


def named_tests(text: str) -> list[tuple[str, str]]:
    """(file under tests/, function) of all `file.py::test_name` and following `::test_name` in a document."""
    found, file = [], ""
    for name in re.findall(r"`([\w/]*(?:\.py)?::test_\w+)`", text):
        path, _, function = name.partition("::")
        file = path or file
        found.append((file, function))
    return found


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def functions_of(file: str) -> set[str]:
    path = ROOT / "tests" / file
    tree = ast.parse(path.read_text(encoding="utf-8")) if path.is_file() else ast.Module([], [])
    return {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}


def test_every_rule_of_the_privacy_contract_names_a_test_that_exists():
    named = named_tests(PRIVACY)
    assert len(named) > 80
    assert [name for name in named if name[1] not in functions_of(name[0])] == []


def test_every_row_of_the_table_of_rules_names_a_keeper_that_exists_and_a_test():
    table = PRIVACY.split("## Rule, keeper, test")[1].split("\n## ")[0]
    rows = [line.split(" | ") for line in table.splitlines() if line.startswith("| ") and "---" not in line][1:]
    assert len(rows) > 40
    for rule, keepers, tests in rows:
        assert "::test_" in tests, rule
        for keeper in re.findall(r"`([\w/.]+)`", keepers):
            assert (ROOT / "spti_ray" / keeper).exists(), f"{rule}: {keeper}"


def inline_code(text: str) -> list[str]:
    """What stands in a document as `code`, but in blocks."""
    return re.findall(r"`([^`\n]+)`", re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL))


def lost_paths(text: str) -> list[str]:
    """Python files in `code` of a document that are not in the repository, in its package or among its tests."""
    found = {path for code in inline_code(text) for path in re.findall(r"[\w/.-]*\w\.py\b", code)}
    return sorted(
        p for p in found - MADE_UP if not any((ROOT / folder / p).is_file() for folder in ("", "spti_ray", "tests"))
    )


@pytest.mark.parametrize("document", OF_THE_PROJECT, ids=name_of)
def test_every_python_file_that_a_document_names_is_there(document):
    assert lost_paths(document.read_text(encoding="utf-8")) == []


def test_a_python_file_that_is_gone_is_found():
    text = "`dp/gate.py`, `dp/gone.py::test_x` and `tests/test_docs.py`\n```sh\npython mine.py\n```\n`python gone.py`"
    assert lost_paths(text) == ["dp/gone.py", "gone.py"]


@pytest.fixture(scope="module")
def words() -> set[str]:
    """Every name in the source of the package."""
    files = sorted((ROOT / "spti_ray").rglob("*.py"))
    return {word for file in files for word in re.findall(r"\w+", file.read_text(encoding="utf-8"))}


def test_every_class_that_a_document_names_is_there(words):
    named = {
        name: name_of(path)
        for path in OF_THE_PROJECT
        for code in inline_code(path.read_text(encoding="utf-8"))
        for name in re.findall(r"\b[A-Z][a-z]+[A-Z]\w*", code.split("/")[-1])
    }
    assert len(named) > 10
    assert {name: named[name] for name in named.keys() - words - MADE_UP - OF_OTHERS} == {}


@pytest.mark.parametrize("page", [path for path in DOCUMENTS if "<!-- begin " in path.read_text("utf-8")], ids=name_of)
def test_what_is_made_from_the_code_is_as_it_is_now(page):
    text = page.read_text(encoding="utf-8")
    assert blocks.remade(text) == text, "run `make docs`"


def test_every_block_is_in_a_page_and_a_stale_one_is_found():
    text = "".join(path.read_text(encoding="utf-8") for path in blocks.pages())
    assert [name for name in blocks.BLOCKS if text.count(blocks.BEGIN.format(name)) != 1] == []
    stale = ARCHITECTURE.replace("|   ", "|  ")
    assert blocks.remade(stale) != stale
    with pytest.raises(ValueError, match="packages has no end"):
        blocks.remade(ARCHITECTURE.replace(blocks.END.format("packages"), ""))


def test_the_documents_say_which_gpu_ran_the_tests_for_one_or_that_none_has(tmp_path, monkeypatch):
    monkeypatch.setattr(blocks, "GPU_FIGURES", tmp_path / "gpu.json")
    assert "No GPU has run it yet" in blocks.gpu()
    found = {"device": "NVIDIA L4", "memory_gib": 22.0, "cuda": "13.0", "spti_ray": "1", "libraries": {"torch": "2"}}
    (tmp_path / "gpu.json").write_text(json.dumps(found | {"figures": {"images_per_s": 12345.6, "votes_per_s": 7}}))
    said = blocks.gpu()
    assert "on one NVIDIA L4 (22 GiB), CUDA 13.0, torch 2, spti-ray 1:" in said and "No GPU" not in said
    assert said.count("\n| ") == 4 and "12,345.6 |" in said


def test_the_drawing_of_packages_has_each_above_all_that_it_imports():
    lines = blocks.packages().splitlines()
    row_of = {name: number for number, line in enumerate(lines) for name in re.findall(r"[\w.]+", line)}
    for name, parts in MAY_IMPORT.items():
        if not name.startswith("__"):
            assert all(row_of[name] < row_of[blocks.owner(part)] for part in parts), name


def test_the_drawing_of_the_data_has_packages_on_their_side_of_the_boundary():
    drawing = ARCHITECTURE.split("```text\n")[1].split("```")[0].splitlines()
    gate = next(number for number, line in enumerate(drawing) if "gate:" in line)
    sides: dict[str, set[str]] = {"public": set(), "private": set(), "after": set()}
    for number, line in enumerate(drawing):
        left, _, right = line.rpartition("|")
        for side, part in (("public", left), ("private", right)):
            sides[side if number < gate else "after"] |= set(re.findall(r"\[([\w.]+)\]", part))
    assert sides["public"] == {"models", "public"} and sides["private"] == {"models", "private"}
    assert sides["after"] == {"dp", "public", "release"}
    # What crosses the boundary is asked for by protocols: neither side may import the other, nor the gate either.
    for side, others in (("public", {"private", "dp"}), ("private", {"public", "dp"}), ("after", {"private"})):
        for package in sides[side] - {"release"}:
            assert not others & set(MAY_IMPORT[package]), package


def test_every_data_format_has_its_row_and_every_method_its_section():
    formats = (ROOT / "docs" / "reference" / "formats.md").read_text(encoding="utf-8")
    read, exported = formats.split("\n## What an export holds\n")
    for part, names in ((read, get_args(Kind)), (exported, WRITERS)):
        assert sorted(re.findall(r"^\| `(\w+)` \|", part, re.MULTILINE)) == sorted(names)
    methods = (ROOT / "docs" / "reference" / "methods.md").read_text(encoding="utf-8")
    assert re.findall(r"^## `([\w-]+)`$", methods, re.MULTILINE) == list(METHODS)


@pytest.mark.parametrize(
    "name", ["README", "docs/architecture", "docs/algorithm", "docs/imports", "docs/runtime", "docs/engines",
             "docs/endpoints", "docs/sharp-edges"],
)  # fmt: skip
def test_what_a_newcomer_reads_is_short(name):
    assert (ROOT / f"{name}.md").stat().st_size <= 10 * 1024


def test_the_readme_leads_to_the_tutorial_before_anything_is_explained():
    before = (ROOT / "README.md").read_text(encoding="utf-8").split("\n## ")[0]
    assert "(docs/tutorial.md)" in before


def fields(value: Any, path: str = "") -> Iterator[str]:
    if isinstance(value, dict) and path.count(".") < 1:
        for key, part in value.items():
            yield from fields(part, f"{path}.{key}" if path else key)
    else:
        yield path


def test_every_field_of_the_certificate_is_explained_with_its_proof(tmp_path):
    plan = plan_at(8.0, 1.0, 1e-5, 1, 3, 1)
    ledger = Ledger(tmp_path, "ds")
    ledger.register(4.0, 1e-5)
    ledger.open_run("r", plan, "c", "n", True, outside="captioner m at https://host").reserve(0, "ab", 4, "v")
    document = certificate(ledger.entries(), "r")
    assert document is not None
    document |= {"release": {"images": 1, "manifest_sha256": "ab"}}
    table = PRIVACY.split("| field | from | proof |")[1].split("\n\n")[0]
    explained: set[str] = set()
    for row in table.splitlines():
        top = ""
        for name in re.findall(r"`([\w.]+)`", row.split(" | ")[0]):
            top = top if name.startswith(".") else name.split(".")[0]
            explained.add(f"{top}{name}" if name.startswith(".") else name)
    missing = [field for field in fields(document) if field not in explained and field.split(".")[0] not in explained]
    assert missing == []
