"""MkDocs hooks: reference pages made from the code at each build, and pages that are files of the repository.

Parts of other pages are made from the code too, and stored: see `blocks`.
"""

from __future__ import annotations

import posixpath
import re
from typing import Any

import typer
import yaml
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page
from pydantic import BaseModel
from typer.cli import get_docs_for_click

from docs._site.blocks import PACKAGE, ROOT, cell, docstring, table
from spti_ray.cli import app
from spti_ray.config import Config, EngineConfig
from spti_ray.kubernetes.settings import Cluster
from spti_ray.models.factory import EMBEDDED, KINDS, OPTIONS
from spti_ray.runtime.placement.fit import Topology

FROM_REPOSITORY = {
    "cluster/README.md": "how-to/kubernetes.md",
    "CONTRIBUTING.md": "contributing.md",
    "SECURITY.md": "security.md",
    "CHANGELOG.md": "changelog.md",
    "THIRD_PARTY_NOTICES.md": "notices.md",
}
"""File of the repository: the page that it becomes."""

MADE_OF = {"spti_ray/config": "reference/configuration.md", "spti_ray/cli": "reference/command-line.md"}
"""Folder of the repository: the page that is made from it. A link to one leads somewhere in a checkout too."""

PICTURES = tuple(path.relative_to(ROOT).as_posix() for path in sorted((ROOT / "jobs" / "results").rglob("*.png")))

Schema = dict[str, Any]


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages that are not in docs/, and the pictures outside of it that pages show."""
    pages = {
        "reference/configuration.md": configuration(),
        "reference/command-line.md": command_line(),
        "reference/layout.md": layout(),
    }
    pages |= {page: (ROOT / source).read_text(encoding="utf-8") for source, page in FROM_REPOSITORY.items()}
    for uri, text in pages.items():
        files.append(File.generated(config, uri, content=text))
    for picture in PICTURES:
        files.append(File.generated(config, picture, abs_src_path=str(ROOT / picture)))
    return files


def on_page_markdown(markdown: str, *, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Links of a page as the repository has them become links of the site."""
    uri = page.file.src_uri
    sources = {page: source for source, page in FROM_REPOSITORY.items()}
    return linked(markdown, sources.get(uri, f"docs/{uri}"), uri)


def linked(markdown: str, source: str, uri: str) -> str:
    """The text of file `source` of the repository, as page `uri`: what a link leads to that is no page becomes code."""

    def target(match: re.Match[str]) -> str:
        label, link = match.groups()
        if re.match(r"[a-z]+:|#", link):
            return match.group(0)
        path, _, anchor = link.partition("#")
        path = posixpath.normpath(posixpath.join(posixpath.dirname(source), path))
        inside = path.removeprefix("docs/") if path.startswith("docs/") else ""
        there = FROM_REPOSITORY.get(path) or MADE_OF.get(path) or inside or (path if path in PICTURES else "")
        if not there:
            return f"{label} (`{path}`)" if label.rstrip("/") not in path else f"`{path}`"
        return f"[{label}]({posixpath.relpath(there, posixpath.dirname(uri) or '.')}{'#' + anchor if anchor else ''})"

    parts = re.split(r"(^```.*?^```)", markdown, flags=re.MULTILINE | re.DOTALL)
    texts = [part if part.startswith("```") else re.sub(r"\[([^\]]+)\]\(([^)\s]+)\)", target, part) for part in parts]
    return "".join(texts)


def layout() -> str:
    """Every package with the question that it answers, and its modules, from their docstrings."""
    parts = ["# Every module", "What each module of `spti_ray/` is for, by the first lines of its docstring."]
    for init in sorted(PACKAGE.rglob("__init__.py"), key=lambda path: path.parent.relative_to(PACKAGE).parts):
        folder = init.parent.relative_to(PACKAGE).as_posix()
        modules = sorted(file for file in init.parent.glob("*.py") if file != init)
        head = "At the top" if folder == "." else f"`{folder}/`"
        rows: list[tuple[str, ...]] = [(f"`{file.name}`", cell(docstring(file))) for file in modules]
        parts += [f"## {head}", cell(docstring(init)), table(("module", ""), rows) if rows else ""]
    return "\n\n".join(part for part in parts if part) + "\n"


def command_line() -> str:
    """Every command with its options, by Typer's own generator (`typer spti_ray.cli utils docs`)."""
    command = typer.main.get_command(app)
    text = get_docs_for_click(obj=command, ctx=typer.Context(command), name="spti", title="The command line")
    # An example of each command is a paragraph of its own; shown one below the other they can be copied.
    return re.sub(r"^Examples?: (.+)$", _examples, text, flags=re.MULTILINE)


def _examples(match: re.Match[str]) -> str:
    lines = re.findall(r"`([^`]+)`", match.group(1))
    return "**Examples**:\n\n```console\n" + "\n".join(f"$ {line}" for line in lines) + "\n```"


def configuration() -> str:
    """All settings, from the models that read them."""
    parts = [
        "# Configuration",
        "A run is one YAML file. Unknown keys are refused with the nearest known one, a key that is set twice with its "
        "line. Any setting can be given on the command line: `--set privacy.epsilon=1 --set evolution.voting=joint`. "
        "**All of a configuration is public** and goes into the release.",
    ]
    schema = Config.model_json_schema()
    simple = {"properties": {}, "required": schema["required"]}
    for name, field in schema["properties"].items():
        if _section(field, schema) is None:
            simple["properties"][name] = field
    parts += ["## At the top", _table(simple, schema, "")]
    for name, field in schema["properties"].items():
        section = _section(field, schema)
        if section is not None:
            parts += [f"## `{name}`", section.get("description", ""), _table(section, schema, f"{name}.")]
    parts += ["## `runtime.engines.ROLE`", _of(EngineConfig), f"`ROLE` is one of {', '.join(EMBEDDED.model_fields)}."]
    parts += [
        "### Kinds",
        "| `kind` | class |\n|---|---|\n" + "\n".join(f"| `{k}` | `{c}` |" for k, c in KINDS.items()),
    ]
    shown: dict[type[BaseModel], list[str]] = {}
    for kind, options in OPTIONS.items():
        shown.setdefault(options, []).append(f"`{kind}`")
    for options, kinds in shown.items():
        if options.model_fields:
            parts += [f"### `options` of {', '.join(kinds)}", _of(options)]
    embedded = yaml.safe_dump(EMBEDDED.model_dump(mode="json", exclude_defaults=True), sort_keys=False)
    parts += ["### `embedded`", "What `runtime.engines: embedded` stands for:", f"```yaml\n{embedded}```"]
    parts += ["## Nodes, for `spti plan --nodes`", _of(Topology)]
    parts += ["## A Kubernetes cluster, for `spti manifest render`", _of(Cluster)]
    return "\n\n".join(part for part in parts if part) + "\n"


def _of(model: type[BaseModel]) -> str:
    schema = model.model_json_schema()
    return "\n\n".join(part for part in (schema.get("description", ""), _table(schema, schema, "")) if part)


def _resolved(field: Schema, root: Schema) -> Schema:
    return root["$defs"][field["$ref"].rpartition("/")[2]] if "$ref" in field else field


def _section(field: Schema, root: Schema) -> Schema | None:
    """The section that a field is, or may be beside null."""
    for choice in (field, *field.get("anyOf", ())):
        resolved = _resolved(choice, root)
        if "properties" in resolved:
            return resolved
    return None


def _table(section: Schema, root: Schema, prefix: str) -> str:
    head = "| setting | type | default | |\n|---|---|---|---|\n"
    return head + "\n".join("| " + " | ".join(row) + " |" for row in _rows(section, root, prefix))


def _rows(section: Schema, root: Schema, prefix: str) -> list[tuple[str, str, str, str]]:
    rows: list[tuple[str, str, str, str]] = []
    for name, field in section["properties"].items():
        inner = _section(field, root)
        if inner is not None:
            rows += _rows(inner, root, f"{prefix}{name}.")
            continue
        default = "**required**" if name in section.get("required", ()) else _value(field.get("default"))
        meaning = field.get("description", "").replace("|", "\\|").replace("<", "&lt;").replace("\n", " ")
        rows.append((f"`{prefix}{name}`", _type(field, root), default, meaning))
        items = _section(field.get("items", {}), root)
        if items is not None:
            rows += _rows(items, root, f"{prefix}{name}[].")
    return rows


def _value(value: Any) -> str:
    if value in (None, "", [], {}):
        return {"": "empty", "None": "none"}.get(str(value), "empty")
    text = yaml.safe_dump(value, default_flow_style=True, width=10_000).removesuffix("\n...\n").strip()
    return f"`{text}`".replace("|", "\\|")


_BOUNDS = {"minimum": "≥", "exclusiveMinimum": ">", "maximum": "≤", "exclusiveMaximum": "<"}


def _type(field: Schema, root: Schema) -> str:
    """A JSON schema in a few words: `number > 0`, `record or group`, `list of text`."""
    field = _resolved(field, root)
    if "anyOf" in field:
        return " or ".join(
            dict.fromkeys(_type(choice, root) for choice in field["anyOf"] if choice.get("type") != "null")
        )
    if "enum" in field or "const" in field:
        return " or ".join(f"`{value}`" for value in field.get("enum") or [field["const"]])
    kind = field.get("type", "any")
    if kind == "array":
        return f"list of {_type(field.get('items', {}), root)}"
    if kind == "object":
        inner = field.get("additionalProperties")
        return (
            "section"
            if "properties" in field
            else f"mapping to {_type(inner if isinstance(inner, dict) else {}, root)}"
        )
    words = {"string": "text", "integer": "whole number", "boolean": "true or false"}.get(kind, kind)
    bounds = [f"{sign} {field[name]}" for name, sign in _BOUNDS.items() if name in field]
    return " ".join([words, ", ".join(bounds)]).strip()
