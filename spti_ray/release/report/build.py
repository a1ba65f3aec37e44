"""Builds release/report.html: one file that needs no network, from public and differentially private data only.

`data.py`, `generations.py` and `pictures.py` read, `statistics.py` summarises, `plots.py` draws, and this module
chooses what is shown. The page is `report.html.j2`, also that of a run which goes on (`spti show`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from spti_ray.io.files import sha256_of, write_atomic
from spti_ray.methods import METHODS, Candidates, PrivateData
from spti_ray.public.datasheet import simulated_in
from spti_ray.public.label_shares import shares_of
from spti_ray.public.replacements import not_made_line
from spti_ray.public.vote_spread import Spread, in_words, spread_of, together
from spti_ray.release.report.data import ReleasedImage, RunData, read_run
from spti_ray.release.report.generations import GenerationData, lineages, read_committed, read_generation
from spti_ray.release.report.pictures import Pictures
from spti_ray.release.report.statistics import (
    Curve,
    evenly_spaced,
    mark_new_words,
    operator_shares,
    vote_curve,
    word_shifts,
)
from spti_ray.release.report.template import attacker_sentence, environment

MAX_PICTURE_BYTES = 9_000_000  # 12 MB as base64; the rest of the page stays far below 3 MB
_MAX_GALLERY = 400
_MAX_GENERATIONS = 12
_TOP_CARDS = 8
_TOP_ROWS = 20
_MAX_LINEAGES = 6
_MAX_FILTERS = 40
_GALLERY_SIDE, _THUMB_SIDE = 256, 128


@dataclass(frozen=True)
class GenerationView:
    """What the page shows of one generation.

    `num_above`: candidates with more votes than two sigma. `expected_above`: how many noise alone would bring there.
    `plot`: the histogram as SVG.
    """

    data: GenerationData
    num_above: int
    expected_above: float
    plot: str = ""

    @property
    def top(self) -> list[tuple[int, Any, int]]:
        """(rank, candidate, noised votes) of the leading texts."""
        pairs = zip(self.data.candidates[:_TOP_ROWS], self.data.counts_K.tolist(), strict=False)
        return [(rank, candidate, count) for rank, (candidate, count) in enumerate(pairs, start=1)]


@dataclass
class _Evolution:
    """What the page shows of all generations, collected one generation at a time."""

    views: list[GenerationView] = field(default_factory=list[GenerationView])
    curves: list[Curve] = field(default_factory=list[Curve])
    shares: dict[int, Mapping[str, float]] = field(default_factory=dict[int, Mapping[str, float]])
    """Share of the noised votes by operator, of each generation whose votes are above their noise."""
    votes: dict[str, list[tuple[int, int]]] = field(default_factory=dict[str, list[tuple[int, int]]])
    """(generation, noised votes) of each candidate that is followed."""
    audited: list[tuple[int, Any, str]] = field(default_factory=list[tuple[int, Any, str]])
    """(generation, label, hash) of each committed histogram."""
    words: list[tuple[str, float, float]] = field(default_factory=list[tuple[str, float, float]])
    spreads: list[Spread] = field(default_factory=list[Spread])
    """Of each histogram that has noise."""


def build_report(run_dir: Path) -> Path:
    """Write `run_dir`/release/report.html. The release must be written already.

    Returns:
        The path of the report.

    Raises:
        FileNotFoundError: no run, or no release, in `run_dir`.
        RunDamaged: one of the run's files can't be read.
        DiskFull: no space left.
    """
    run = read_run(run_dir)
    path = run.folder / "release" / "report.html"
    write_atomic(path, page_of(contents_of(run)))
    return path


def page_of(contents: Mapping[str, Any], at_work: Mapping[str, Any] | None = None) -> str:
    """The page.

    Args:
        contents: `contents_of` a run.
        at_work: of a run that is not finished: `state`, `lines` (where it is, for people), `refresh_s` (seconds until
            a browser asks again; 0: never).
    """
    return environment().get_template("report.html.j2").render(contents, at_work=at_work)


def contents_of(run: RunData) -> dict[str, Any]:
    """What the page shows of a run. Takes seconds: plots are drawn and pictures made smaller.

    Raises:
        RunDamaged: one of the run's files can't be read.
    """
    from spti_ray.release.report import plots  # matplotlib takes a second to import, and only reports need it

    chains = _lineages(run)
    evolution = _read_generations(run, {candidate.id for chain in chains for candidate in chain})
    curves, shares, words = evolution.curves, evolution.shares, evolution.words
    pictures = Pictures(run.folder, MAX_PICTURE_BYTES)
    thumbs = _thumbs(run, evolution.views, chains, pictures)
    gallery = _gallery(run, pictures)
    labels = sorted({image.label for image in run.images})
    births = sorted({image.generation for image in run.images})
    manifest = run.folder / "release" / "manifest.parquet"
    return {
        "run": run,
        "rerendering_of": _rerendering_of(run.config),
        "fallbacks": [*run.fallbacks.lines(), *run.fallbacks.cut_lines(), *_not_made(run)],
        **_of_method(str(run.config.get("method", ""))),
        "title": run.config.get("title") or "DP synthetic images",
        "simulated": simulated_in(run.models),
        "num_texts": len({image.candidate_id for image in run.images}),
        "attacker": attacker_sentence(run.certificate) if run.certificate else None,
        "gallery": gallery,
        "num_shown": sum(len(group) for group in gallery),
        "label_shares": shares_of(run.label_counts),
        "labels": labels if 2 <= len(labels) <= _MAX_FILTERS else [],
        "births": births if 2 <= len(births) <= _MAX_FILTERS else [],
        "views": _with_plots(evolution.views),
        "top_cards": _TOP_CARDS,
        "thumbs": thumbs,
        "lineages": [_steps(chain) for chain in chains],
        "votes": evolution.votes,
        "curve_svg": plots.curve_plot(run.candidate_generations, curves, "curves") if len(curves) > 1 else "",
        "audited": evolution.audited,
        "spread_in_words": in_words(together(evolution.spreads)) if evolution.spreads else "",
        "is_noise": bool(evolution.spreads) and not together(evolution.spreads).is_more_than_noise,
        "manifest_sha256": sha256_of(manifest) if manifest.is_file() else "",
        "operator_svg": plots.operator_plot(list(shares.values()), list(shares), "operators", rows=len(words))
        if shares
        else "",
        "word_svg": plots.word_plot(words, "words") if words else "",
        "settings": yaml.safe_dump(dict(run.config), sort_keys=False, allow_unicode=True, width=100),
    }


def _read_generations(run: RunData, followed: set[str]) -> _Evolution:
    """Read the generations, of which one is in memory at a time. `followed`: candidates whose votes are shown."""
    evolution = _Evolution()
    shown = evenly_spaced(run.candidate_generations, _MAX_GENERATIONS)
    first: GenerationData | None = None
    last: GenerationData | None = None
    for number in run.generations:
        if number not in run.candidate_generations:
            label, histogram = read_committed(run.folder, number)
            evolution.audited.append((number, label, histogram.artifact_sha256))
            continue
        last = read_generation(run.folder, number)
        first = first or last
        if share := operator_shares(last):
            evolution.shares[number] = share
        if number in shown:
            evolution.views.append(_view(last))
        for candidate, count in zip(last.candidates, last.counts_K.tolist(), strict=True):
            if candidate.id in followed:
                evolution.votes.setdefault(candidate.id, []).append((number, count))
        if last.sigma:
            labels = [candidate.label for candidate in last.candidates]
            evolution.spreads.append(spread_of(last.counts_K.tolist(), labels, last.sigma))
        evolution.curves.append(vote_curve(last))
        evolution.audited.append((number, last.label, last.artifact_sha256))
    evolution.words = word_shifts(first, last) if first and last else []
    return evolution


def _thumbs(
    run: RunData, views: Sequence[GenerationView], chains: Sequence[Sequence[Any]], pictures: Pictures
) -> dict[str, str]:
    """Data URIs of the renders of leading candidates and of lineages, by candidate id."""
    born = {candidate.id: candidate.generation for view in views for _, candidate, _ in view.top[:_TOP_CARDS]}
    born |= {candidate.id: candidate.generation for chain in chains for candidate in chain}
    # If this run continues another one, the survivors of that run are stored with its first generation.
    stored = {name: max(generation, *run.candidate_generations[:1]) for name, generation in born.items()}
    return pictures.of_candidates(stored, _THUMB_SIDE)


def _gallery(run: RunData, pictures: Pictures) -> list[list[tuple[ReleasedImage, str]]]:
    """Released images with their data URIs, as many as there is room for; those of one text are together."""
    groups: dict[str, list[tuple[ReleasedImage, str]]] = {}
    for image in evenly_spaced(run.images, _MAX_GALLERY):
        uri = pictures.of_file(image.file, _GALLERY_SIDE)
        if uri is None:
            break
        groups.setdefault(image.candidate_id, []).append((image, uri))
    return list(groups.values())


def _view(data: GenerationData) -> GenerationView:
    beyond = 0.5 * math.erfc(math.sqrt(2.0))  # P(noise > 2 sigma)
    return GenerationView(data, int(np.sum(data.counts_K > 2 * data.sigma)), beyond * len(data.candidates))


def _with_plots(views: Sequence[GenerationView]) -> list[GenerationView]:
    """The views, each with its histogram; all histograms have one scale."""
    from spti_ray.release.report import plots

    if not views:
        return []
    highest = max(max(float(view.data.counts_K.max(initial=0)), 3 * view.data.sigma) for view in views)
    lowest = min(min(float(view.data.counts_K.min(initial=0)), -3 * view.data.sigma) for view in views)
    limits = (lowest * 1.08, highest * 1.08)
    return [
        GenerationView(
            view.data,
            view.num_above,
            view.expected_above,
            plots.histogram_plot(view.data.counts_K, view.data.sigma, limits, f"histogram{view.data.number}"),
        )
        for view in views
    ]


def _not_made(run: RunData) -> list[str]:
    """The lines of a release about images that were filtered or not made; none of a run that has no release yet."""
    if not run.images:
        return []
    if run.filtered:
        return list(run.filtered.lines())
    asked_for = run.config.get("release", {}).get("images", len(run.images))
    line = not_made_line([image.file for image in run.images], asked_for)
    return [line] if line else []


def _lineages(run: RunData) -> list[list[Any]]:
    """The longest chains of ancestors of released texts; no two chains begin with the same ancestor."""
    numbers = run.candidate_generations
    if not numbers:
        return []
    ids = evenly_spaced(list(dict.fromkeys(image.candidate_id for image in run.images)), 500)
    chains = sorted(
        lineages(run.folder, ids, numbers[-1], numbers[0]),
        key=lambda chain: (-len(chain), chain[-1].id),
    )
    chosen: list[list[Any]] = []
    founders: set[str] = set()
    for chain in chains:
        if len(chain) > 1 and chain[0].id not in founders and len(chosen) < _MAX_LINEAGES:
            founders.add(chain[0].id)
            chosen.append(chain)
    return chosen


def _steps(chain: Sequence[Any]) -> list[tuple[Any, list[tuple[str, bool]]]]:
    texts = [None, *(candidate.text for candidate in chain)]
    return [
        (candidate, mark_new_words(before, candidate.text)) for candidate, before in zip(chain, texts, strict=False)
    ]


def _of_method(name: str) -> dict[str, Any]:
    """What the page must know of a method. One that this build does not have is taken for one that votes on texts."""
    method = METHODS.get(name)
    return {
        "method_title": (method and method.title) or name,
        "voted_on": method is None or method.private_data is not PrivateData.NOT_READ,
        "what": "images" if method and method.candidates is Candidates.IMAGES else "texts",
    }


def _rerendering_of(config: Mapping[str, Any]) -> str:
    """For a re-rendering, the run whose texts were rendered; else ""."""
    origin = config.get("origin") or {}
    return str(origin["run"]) if origin.get("rerender") else ""
