"""Writes the page of `spti plan --html`: one file that needs no network, from public settings alone."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jinja2

from spti_ray import __version__
from spti_ray.config import Config
from spti_ray.config.loading import ConfigError
from spti_ray.figures import at_least
from spti_ray.io.files import write_atomic
from spti_ray.models.factory import endpoint_of
from spti_ray.planning.costs.report import NOT_IN_IT, Costs
from spti_ray.planning.page.values import page_values

_HERE = Path(__file__).parent

FORMULAS = ("privacy", "workload", "costs", "plan")
"""Scripts that compute, in the order in which they need one another; the others show."""

_SCRIPTS = (*FORMULAS, "charts", "page")


def write_plan_page(
    path: Path, config: Config, costs: Costs, summary: Mapping[str, Any], command: Sequence[str]
) -> None:
    """Write the page.

    Args:
        path: of the file; an earlier page is replaced, and no other file.
        config: a configuration that can be planned.
        costs: its estimate, whose rates and prices are the page's.
        summary: its `plan_summary`.
        command: the words of the command by which the planner says the same, without what is chosen on the page.

    Raises:
        ConfigError: there is nothing to choose, or `path` can't be a file; one line.
        DiskFull: no space left; nothing changed.
    """
    values = page_values(config, costs, summary, command)
    if path.is_dir() or not path.parent.is_dir():
        why = "is a folder" if path.is_dir() else f"there is no folder {path.parent}"
        raise ConfigError(f"--html {path}: {why}; name a file, such as plan.html")
    if path.exists() and not _is_page(path):
        raise ConfigError(f"--html {path}: is there, and is no page of spti plan; name another file, or remove it")
    scripts = [script(name) for name in _SCRIPTS]
    spent = values["spent"]
    page = _template().render(
        title=config.title,
        values=values,
        prices=_prices(costs, values),
        spent=None if spent is None else at_least(spent),
        most_replicas=lambda pool: max(64, 2 * (pool["most"] or 0), 2 * pool["replicas"]),
        not_in_it=NOT_IN_IT,
        version=__version__,
        style=(_HERE / "plan.css").read_text(encoding="utf-8"),
        scripts=scripts,
        script_sources=" ".join(f"'sha256-{_digest(text)}'" for text in scripts),
    )
    write_atomic(path, page)


def _is_page(path: Path) -> bool:
    """Whether a file is a page that this command may write again."""
    try:
        with path.open("rb") as file:
            return b"<title>Plan: " in file.read(100_000)
    except OSError:
        return False


def script(name: str) -> str:
    """One of the page's scripts, as it stands in the page."""
    return (_HERE / "script" / f"{name}.js").read_text(encoding="utf-8")


def _digest(text: str) -> str:
    """By which the page's own rules let this script run, and no other."""
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def _prices(costs: Costs, values: Mapping[str, Any]) -> dict[str, str]:
    """What can be priced, and how the page calls it."""
    kinds = dict.fromkeys(kind for role in values["kinds"].values() for kind in role)
    names = {kind: f"{kind}, an hour" for kind in kinds}
    if any(engine["gpus"] for engine in values["engines"].values()):
        names["gpu"] = "Any other GPU, an hour"
    names["cpu"] = "CPU core, an hour"
    if endpoint_of(costs.found.engines.renderer) is not None:
        names["image"] = "Endpoint's image"
    return names


def _template() -> jinja2.Template:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_HERE),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.policies["json.dumps_kwargs"] = {"allow_nan": False}  # in the order in which the planner has them
    return environment.get_template("plan.html.j2")
