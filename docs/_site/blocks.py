"""Parts of the documents that are made from the code: `python -m docs._site.blocks` writes them anew.

Such a part stands between two comments in a page, so that the page reads the same in the repository and on the site.
`tests/test_docs.py` compares each with what the code says now.
"""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

from spti_ray.config import Config, EngineConfig
from spti_ray.config.identity import BEFORE, flatten, pinned, resolved
from spti_ray.methods import METHODS
from tests import import_rules
from tests.import_rules import BASE, MAY_IMPORT, ONLY_IN

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "spti_ray"
RULES = Path(import_rules.__file__)

BEGIN = "<!-- begin {}: made by `python -m docs._site.blocks` -->"
END = "<!-- end {} -->"


def docstring(file: Path) -> str:
    """The first paragraph of a module's docstring, on one line."""
    text = ast.get_docstring(ast.parse(file.read_text(encoding="utf-8"))) or ""
    return " ".join(text.split("\n\n")[0].split())


def cell(text: str) -> str:
    """A text as a cell of a table: what would be read as HTML or as the next cell is escaped, but in code."""
    parts = re.split(r"(`[^`]*`)", text.replace("|", "\\|"))
    return "".join(part if part.startswith("`") else part.replace("<", "&lt;") for part in parts)


def table(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    lines = [head, ("---",) * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def code(names: tuple[str, ...] | list[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)


def reasons(name: str) -> dict[str, str]:
    """Key of the mapping `name` in the import rules: the comment at its end, or else above it, or empty."""
    lines = RULES.read_text(encoding="utf-8").partition(f"\n{name}:")[2].partition("\n}")[0].splitlines()
    found: dict[str, str] = {}
    above: list[str] = []
    for line in map(str.strip, lines):
        if line.startswith("#"):
            above.append(line.removeprefix("# "))
        elif match := re.match(r'"([\w.]+)": .*?(?:  # (.*))?$', line):
            found[match.group(1)] = match.group(2) or " ".join(above)
            above = []
    return found


def imports() -> str:
    """The table of who may import whom, with the rules' comments as reasons."""
    why = reasons("MAY_IMPORT")
    base = f"Each of {code(BASE)} may be imported by all and imports only those before it."
    rows = [(f"`{row}`", code(may) or "nothing", cell(why[row])) for row, may in MAY_IMPORT.items()]
    return f"{base}\n\n" + table(("package", "may import, beside itself and those", "why"), rows)


def libraries() -> str:
    """The table of which library is imported where alone."""
    why = reasons("ONLY_IN")
    where: dict[tuple[str, ...], list[str]] = {}
    for library, places in ONLY_IN.items():
        where.setdefault(places, []).append(library)
    rows = [
        (code(names), code(places) + "".join(f" ({cell(why[name])})" for name in names if why[name]))
        for places, names in where.items()
    ]
    return table(("library", "imported only in"), rows)


@cache
def height(row: str) -> int:
    """How far a package is above those that import none of the others."""
    return 1 + max((height(owner(part)) for part in MAY_IMPORT[row]), default=-1)


def owner(part: str) -> str:
    """The row of the table that `part` of a package belongs to: `dp.artifact` to `dp`."""
    return part if part in MAY_IMPORT else owner(part.rpartition(".")[0])


def packages() -> str:
    """The packages in layers: each imports only from layers below its own."""
    layers: dict[int, list[str]] = {}
    for row in MAY_IMPORT:
        if not row.startswith("__"):
            layers.setdefault(height(row), []).append(row)
    lines = ["   ".join(layers[number]) for number in sorted(layers, reverse=True)] + ["   ".join(reversed(BASE))]
    width = max(map(len, lines)) + 2
    rule = f"+{'-' * width}+"
    drawn = f"\n{rule}\n".join(f"|{line.center(width)}|" for line in lines)
    return f"```text\n{rule}\n{drawn}\n{rule}\n```"


def folders() -> str:
    """Each folder of the package with the question that it answers, and each module beside them."""
    rows: list[tuple[str, ...]] = []
    for init in sorted(PACKAGE.rglob("__init__.py"), key=lambda path: path.parent.relative_to(PACKAGE).parts):
        folder = init.parent.relative_to(PACKAGE).as_posix()
        if folder != ".":
            rows.append((f"`{folder}/`", cell(docstring(init))))
    rows += [(f"`{file.name}`", cell(docstring(file))) for file in sorted(PACKAGE.glob("*.py"))]
    return table(("`spti_ray/`", ""), rows)


def methods() -> str:
    """Every method, by its declaration."""
    rows = [
        (f"[`{m.name}`](#{m.name})", cell(m.help), m.candidates.value, m.private_data.value, m.protection.value)
        for m in METHODS.values()
    ]
    return table(("`method`", "", "candidates", "private images", "protected by"), rows)


def free_settings() -> str:
    """The settings that may change between two starts of one run."""
    settings = {
        "data": {"path": "x"},
        "dataset": {"id": "x"},
        "privacy": {"epsilon": 1, "delta": 1e-5},
        "evolution": {"generations": 1, "candidates": 1},
        "prompts": {"domain": "x"},
        "release": {"images": 1},
        "origin": {"run": "x", "path": "x"},
    }
    tree = resolved(Config.model_validate(settings))
    tree["runtime"]["engines"] = {"ROLE": EngineConfig(kind="x").model_dump(mode="json")}
    # Where a later setting means what earlier builds did, `pinned` leaves it out, and it is not free for that.
    return code(sorted(flatten(tree).keys() - pinned(tree).keys() - BEFORE.keys()))


GPU_FIGURES = ROOT / "jobs" / "results" / "gpu.json"
GPU_ROWS = {
    "images_per_s": "images that the bundled renderer draws a second (64 px, 8 steps, batches of 64)",
    "varied_images_per_s": "images that it varies a second",
    "captions_per_s": "images that the bundled captioner describes a second",
    "embeddings_per_s": "images that the bundled embedder embeds a second",
    "text_embeddings_per_s": "texts that MiniLM embeds a second",
    "votes_per_s": "records that vote a second (of 100,000, 4,000 candidates, 2,048 dimensions)",
    "votes_over_numpy": "the same over NumPy on that machine's cores",
}


def gpu() -> str:
    """What `make test-gpu` left, and on which GPU; or that there is nothing yet."""
    if not GPU_FIGURES.is_file():
        return (
            "`make test-gpu` tries renderer, captioner, embedders, votes, shares of memory and sleeping on a GPU, and "
            "compares them with the CPU. **No GPU has run it yet**: there are no figures, and that the same tests pass "
            "on a CPU (`make test-gpu DEVICE=cpu`) says nothing about a GPU."
        )
    found = json.loads(GPU_FIGURES.read_text(encoding="utf-8"))
    libraries = ", ".join(f"{name} {version}" for name, version in found["libraries"].items())
    said = (
        f"By `make test-gpu` on one {found['device']} ({found['memory_gib']:g} GiB), CUDA {found['cuda']}, "
        f"{libraries}, spti-ray {found['spti_ray']}:"
    )
    rows = [(words, f"{found['figures'][name]:,}") for name, words in GPU_ROWS.items() if name in found["figures"]]
    return f"{said}\n\n" + table(("", found["device"]), rows)


BLOCKS: dict[str, Callable[[], str]] = {
    "folders": folders,
    "free-settings": free_settings,
    "gpu": gpu,
    "imports": imports,
    "libraries": libraries,
    "methods": methods,
    "packages": packages,
}
"""Name of a block: what makes it."""


def pages() -> Iterator[Path]:
    yield from sorted((ROOT / "docs").rglob("*.md"))


def remade(text: str) -> str:
    """The page with every block as the code has it now. Raises ValueError where one does not end."""
    for name in re.findall(re.escape(BEGIN).replace(r"\{\}", r"([\w-]+)"), text):
        before, begin, rest = text.partition(BEGIN.format(name))
        _, end, after = rest.partition(END.format(name))
        if not end:
            raise ValueError(f"the block {name} has no end")
        text = f"{before}{begin}\n\n{BLOCKS[name]()}\n\n{end}{after}"
    return text


if __name__ == "__main__":
    for page in pages():
        was = page.read_text(encoding="utf-8")
        now = remade(was)
        if now != was:
            page.write_text(now, encoding="utf-8")
            print(f"{page.relative_to(ROOT)}: written anew")
