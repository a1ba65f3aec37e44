"""`spti compare`: sets two runs or releases side by side. It only reads their files.

Settings, certificates and texts are public. Metrics that `spti evaluate` left in both runs' `internal/evaluation/` are
not: they are shown apart, with a statement that says so.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from spti_ray.config.identity import flatten
from spti_ray.config.loading import ConfigError
from spti_ray.config.parsing import parse_json
from spti_ray.figures import release_epsilon, release_replace_one_epsilon, rounded_up
from spti_ray.io.text_table import Column, text_table
from spti_ray.public.released_files import models_in, read_manifest
from spti_ray.public.words import normal_form
from spti_ray.release import gap
from spti_ray.release.checks import find_field
from spti_ray.runs.run_file import read_run

INTERNAL_STATEMENT = (
    "internal: not differentially private. Computed from the private images without noise; never publish it, and what "
    "is chosen by it is covered by no epsilon"
)

_CERTIFICATE_FIELDS = (
    *("unit", "epsilon", "delta", "achieved_epsilon", "replace_one_epsilon", "attacker.advantage"),
    "origin.runs",
    *("mechanism.sigma", "mechanism.votes_per_record", "mechanism.generations", "mechanism.candidates"),
    *("mechanism.queries_charged", "mechanism.queries_planned", "mechanism.burned_slots", "dataset.id"),
    *("dataset.lifetime_epsilon", "dataset.lifetime_epsilon_spent", "noise.source", "run.id"),
    *("release.rerendering_of", "audits.passed"),
)
"""Fields of the certificate that are set side by side, where one of the two has them. epsilon, achieved_epsilon and
replace_one_epsilon are those of the whole release, also for certificates of format 2, which keep them elsewhere."""

_FIRST = ("kid", "cmmd", "frechet_infinity")
"""Metrics that do not depend on the number of images, which come first."""

_COLUMN_WIDTH = 44
"""Characters of a column. Longer values are cut; `--json` has them whole."""


@dataclass(frozen=True)
class _Side:
    """One of the two runs or releases. A published release has no settings and no evaluations."""

    name: str
    settings: Mapping[str, Any]
    certificate: Mapping[str, Any]
    texts: frozenset[str]
    images: frozenset[str]
    num_images: int
    models: Mapping[str, str]
    evaluations: Mapping[tuple[str, str], Mapping[str, Any]]
    """Results of `spti evaluate` by (image set, judge)."""


@dataclass(frozen=True)
class Comparison:
    """The comparison. A row is (field, value of A, value of B); a missing value is None."""

    names: tuple[str, str]
    settings: list[tuple[str, Any, Any]] | None
    """Settings that differ; None if one of the two has no run.yaml."""
    certificate: list[tuple[str, Any, Any]]
    release: list[tuple[str, Any, Any]]
    common_texts: int
    common_images: int
    metrics: list[dict[str, Any]]
    """INTERNAL: metrics of the image sets that one judge evaluated in both."""

    def to_json(self) -> dict[str, Any]:
        """The document that `--json` prints."""

        def sided(rows: list[tuple[str, Any, Any]]) -> dict[str, Any]:
            return {field: {"a": a, "b": b} for field, a, b in rows}

        return {
            "a": self.names[0],
            "b": self.names[1],
            "settings": None if self.settings is None else sided(self.settings),
            "certificate": sided(self.certificate),
            "release": sided(self.release) | {"common_texts": self.common_texts, "common_images": self.common_images},
        } | ({"internal": {"statement": INTERNAL_STATEMENT, "metrics": self.metrics}} if self.metrics else {})

    def lines(self) -> Iterator[str]:
        """The comparison as lines for people."""
        unknown = [("not known: a published release has no run.yaml", "", "")]
        none = [("none", "", "")]
        blocks = {
            "settings that differ": unknown if self.settings is None else self.settings or none,
            "certificate": [(field, rounded_up(a, field), rounded_up(b, field)) for field, a, b in self.certificate]
            or none,
            "release": self.release,
        }
        yield f"A  {self.names[0]}"
        yield f"B  {self.names[1]}"
        for title, rows in blocks.items():
            yield from ("", title, *_table(rows))
        yield f"  in common: {self.common_texts} texts, {self.common_images} images"
        if self.metrics:
            yield from ("", f"metrics, {INTERNAL_STATEMENT}")
        for group in self.metrics:
            sizes = group["images"]
            yield f"  {group['evaluated']}, judged by {group['judge']}, of {sizes['a']} and {sizes['b']} images"
            yield from (f"  NOTE: {doubt}" for doubt in group["doubts"])
            shares = {name: found for name, found in group.get("gap_closed", {}).items() if found}
            for name, found in shares.items():
                if "undefined" in found:
                    yield f"  NOTE: by {name} no share of the gap is defined: {found['undefined']}"
            closed = [
                (f"share of the gap by {name}", _interval(found.get("a")), _interval(found.get("b")))
                for name, found in shares.items()
                if "undefined" not in found
            ]
            better = [
                (f"{row['name']} ({row['better']})", _interval(row["a"]), _interval(row["b"])) for row in group["rows"]
            ]
            yield from _table([*closed, *better])
            if closed:
                yield f"  share of the gap: `{gap.FROM}` (generation 0) is 0, `{gap.TO}` (renders of captions) is 1"


def compare_releases(a: Path, b: Path, ends: Sequence[Path] = ()) -> Comparison:
    """Compare two runs or releases, by their folders.

    Args:
        a, b: The two.
        ends: Runs of the methods `random` and `captions` on the same private images. With both (one may be `a` or `b`)
            the metrics have the share of the gap between them that A and B close (`gap.gaps_closed`).

    Raises:
        ConfigError: one of the folders holds neither, or an end is a run of another method; one line.
    """
    sides = _read(a), _read(b)
    one, two = sides
    others = [_read(folder) for folder in ends]
    for side in others:
        if side.settings.get("method") not in (gap.FROM, gap.TO):
            raise ConfigError(f"{side.name}: a third run is one of method {gap.FROM} or {gap.TO}: the ends of the gap")
    fields = [field for field in _CERTIFICATE_FIELDS if any(_of(side.certificate, field) is not None for side in sides)]
    return Comparison(
        names=(one.name, two.name),
        settings=_differing(one.settings, two.settings) if one.settings and two.settings else None,
        certificate=[(field, _of(one.certificate, field), _of(two.certificate, field)) for field in fields],
        release=[
            ("images", one.num_images, two.num_images),
            ("texts", len(one.texts), len(two.texts)),
            *((role, one.models.get(role), two.models.get(role)) for role in sorted({*one.models, *two.models})),
        ],
        common_texts=len(one.texts & two.texts),
        common_images=len(one.images & two.images),
        metrics=[_metrics(key, one, two, others) for key in sorted(one.evaluations.keys() & two.evaluations.keys())],
    )


def _read(folder: Path) -> _Side:
    release = folder / "release" if (folder / "release").is_dir() else folder
    if not folder.exists():
        raise ConfigError(f"{folder}: there is no such folder; name a run's, or a release's")
    if not (release / "manifest.parquet").is_file():
        raise ConfigError(f"{folder}: holds no finished run and no release (no manifest.parquet)")
    table = read_manifest(release)
    run = read_run(folder) if (folder / "run.yaml").is_file() else {}
    certificate = release / "privacy.json"
    images = table["sha256"].to_pylist()
    models = models_in(table)
    return _Side(
        name=str(folder),
        settings=flatten(run.get("config", {})),
        certificate=_json(certificate) if certificate.is_file() else {},
        texts=frozenset(normal_form(text) for text in table["text"].to_pylist()),
        images=frozenset(images),
        num_images=len(images),
        models={role: f"{of.get('model') or of.get('kind')} ({of.get('revision')})" for role, of in models.items()},
        evaluations=_evaluations(folder / "internal" / "evaluation"),
    )


def _evaluations(folder: Path) -> dict[tuple[str, str], Mapping[str, Any]]:
    """What `spti evaluate` left: of several results for one image set by one judge, the newest."""
    files = sorted(folder.glob("*.json"), key=lambda path: path.stat().st_mtime)
    return {
        (str(result["name"]), str(result["judge"].get("model") or result["judge"].get("kind"))): result
        for file in files
        for result in _json(file).get("results", [])
    }


def _json(path: Path) -> dict[str, Any]:
    try:
        document = parse_json(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        document = None
    if not isinstance(document, dict):
        raise ConfigError(f"{path}: can't be read as JSON; restore it")
    return document


def _metrics(key: tuple[str, str], one: _Side, two: _Side, others: Sequence[_Side]) -> dict[str, Any]:
    a, b = one.evaluations[key], two.evaluations[key]
    figures = [{metric["name"]: metric for metric in side["metrics"]} for side in (a, b)]
    # Most metrics depend on the number of images, and on the real images that they are compared with.
    settings = {"num_generated": "numbers of images", "num_reference": "reference sets", "seed": "halves of the data"}
    compared = {"a": gap.Evaluated(one.settings, a), "b": gap.Evaluated(two.settings, b)}
    more = [gap.Evaluated(side.settings, side.evaluations[key]) for side in others if key in side.evaluations]
    closed = gap.gaps_closed(compared, more) if key[0] == "release" else {}
    return {
        "evaluated": key[0],
        "judge": key[1],
        "images": {"a": a["num_generated"], "b": b["num_generated"]},
        "doubts": [f"of different {what}: not comparable" for name, what in settings.items() if a[name] != b[name]],
        "rows": [
            {"name": name, "better": metric["better"], "a": _figure(metric), "b": _figure(figures[1][name])}
            # Earlier versions wrote the plain Fréchet distance first.
            for name, metric in sorted(figures[0].items(), key=lambda item: item[0] not in _FIRST)
            if name in figures[1]
        ],
    } | ({"gap_closed": closed} if closed else {})


def _figure(metric: Mapping[str, Any]) -> dict[str, Any]:
    return {name: metric.get(name) for name in ("value", "low", "high")}


def _differing(one: Mapping[str, Any], two: Mapping[str, Any]) -> list[tuple[str, Any, Any]]:
    fields = sorted({*one, *two})
    return [(field, one.get(field), two.get(field)) for field in fields if one.get(field) != two.get(field)]


def _of(certificate: Mapping[str, Any], field: str) -> Any:
    """A figure of the certificate, whatever its format; None if it has none."""
    if field not in certificate or not isinstance(certificate.get("origin"), Mapping):
        return find_field(certificate, field)
    if field in ("epsilon", "achieved_epsilon"):
        return release_epsilon(certificate)
    return release_replace_one_epsilon(certificate) if field == "replace_one_epsilon" else certificate[field]


def _interval(metric: Mapping[str, Any] | None) -> str | None:
    if metric is None:
        return None
    low, high = metric["low"], metric["high"]
    return f"{metric['value']:.4g}" + ("" if low is None else f" [{low:.4g}, {high:.4g}]")


def _table(rows: Sequence[tuple[str, Any, Any]]) -> list[str]:
    lines = text_table((Column(), Column(), Column()), ((field, _shown(a), _shown(b)) for field, a, b in rows))
    return [f"  {line}" for line in lines]


def _shown(value: Any) -> str:
    if value is None:
        return "-"
    text = " ".join((f"{value:.6g}" if isinstance(value, float) else str(value)).split())
    return text if len(text) <= _COLUMN_WIDTH else text[: _COLUMN_WIDTH - 3] + "..."
