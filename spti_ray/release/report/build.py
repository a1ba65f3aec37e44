"""Builds release/report.html: one file that needs no network, from public and differentially private data only.

`data.py` reads, `plots.py` draws, this module chooses what is shown; the page itself is `report.html.j2`.
"""

from __future__ import annotations

import difflib
import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
import yaml

from spti_ray.figures import release_epsilon, rounded_up
from spti_ray.io.files import sha256_of, write_atomic
from spti_ray.release.report import plots
from spti_ray.release.report.data import (
    GenerationData,
    Pictures,
    ReleasedImage,
    RunData,
    lineages,
    read_generation,
    read_run,
)
from spti_ray.release.report.plots import Curve

MAX_PICTURE_BYTES = 9_000_000  # 12 MB as base64; the rest of the page stays far below 3 MB
_MAX_GALLERY = 400
_MAX_GENERATIONS = 12
_TOP_CARDS = 8
_TOP_ROWS = 20
_MAX_LINEAGES = 6
_MAX_FILTERS = 40
_MAX_WORDS = 8
_GALLERY_SIDE, _THUMB_SIDE = 256, 128
_STOP_WORDS = frozenset(
    "the and with for from that this into onto over under its his her their are was has have one two some very of "
    "a an in on at by to is it as or but not up out off near between".split()
)


@dataclass(frozen=True)
class GenerationView:
    """What the page shows of one generation."""

    data: GenerationData
    num_above: int
    expected_above: float
    plot: str = ""

    @property
    def top(self) -> list[tuple[int, Any, int]]:
        """(rank, candidate, noised votes) of the leading texts."""
        pairs = zip(self.data.candidates[:_TOP_ROWS], self.data.counts_K.tolist(), strict=False)
        return [(rank, candidate, count) for rank, (candidate, count) in enumerate(pairs, start=1)]


def build_report(run_dir: Path) -> Path:
    """Write `run_dir`/release/report.html and return its path. The release must be written already.

    Raises:
        FileNotFoundError: no run, or no release, in `run_dir`.
        DiskFull: no space left.
    """
    run = read_run(run_dir)
    shown = evenly_spaced(run.generations, _MAX_GENERATIONS)
    drift: list[Mapping[str, float]] = []
    drift_of: list[int] = []
    views: list[GenerationView] = []
    chains = _lineages(run)
    followed = {candidate.id for chain in chains for candidate in chain}
    votes: dict[str, list[tuple[int, int]]] = {}
    curves: list[Curve] = []
    audited: list[tuple[int, Any, str]] = []
    first: GenerationData | None = None
    last: GenerationData | None = None
    for number in run.generations:
        last = read_generation(run.folder, number)
        first = first or last
        share = operator_shares(last)
        if share:
            drift.append(share)
            drift_of.append(number)
        if number in shown:
            views.append(_view(last))
        for candidate, count in zip(last.candidates, last.counts_K.tolist(), strict=True):
            if candidate.id in followed:
                votes.setdefault(candidate.id, []).append((number, count))
        curves.append(vote_curve(last))
        audited.append((number, last.label, last.artifact_sha256))
    views = _with_plots(views)
    words = word_shifts(first, last) if first and last else []

    pictures = Pictures(run.folder, MAX_PICTURE_BYTES)
    cards = {candidate.id: candidate.generation for view in views for _, candidate, _ in view.top[:_TOP_CARDS]}
    cards |= {candidate.id: candidate.generation for chain in chains for candidate in chain}
    # Survivors of a run that this one goes on from lie with its first generation.
    cards = {name: max(born, *run.generations[:1]) for name, born in cards.items()}
    thumbs = pictures.of_candidates(cards, _THUMB_SIDE)
    # The variants of one text stand together, under the text.
    gallery: dict[str, list[tuple[ReleasedImage, str]]] = {}
    for image in evenly_spaced(run.images, _MAX_GALLERY):
        uri = pictures.of_file(image.file, _GALLERY_SIDE)
        if uri is None:
            break
        gallery.setdefault(image.candidate_id, []).append((image, uri))

    labels = sorted({image.label for image in run.images})
    births = sorted({image.generation for image in run.images})
    page = (
        _environment()
        .get_template("report.html.j2")
        .render(
            run=run,
            rerendering_of=_rerendering_of(run.config),
            title=run.config.get("title") or "DP synthetic images",
            num_texts=len({image.candidate_id for image in run.images}),
            attacker=attacker_sentence(run.certificate) if run.certificate else None,
            gallery=list(gallery.values()),
            num_shown=sum(len(group) for group in gallery.values()),
            labels=labels if 2 <= len(labels) <= _MAX_FILTERS else [],
            births=births if 2 <= len(births) <= _MAX_FILTERS else [],
            views=views,
            top_cards=_TOP_CARDS,
            thumbs=thumbs,
            lineages=[_steps(chain) for chain in chains],
            votes=votes,
            curve_svg=plots.curve_plot(run.generations, curves, "curves") if len(curves) > 1 else "",
            audited=audited,
            manifest_sha256=sha256_of(run.folder / "release" / "manifest.parquet"),
            operator_svg=plots.operator_plot(drift, drift_of, "operators", rows=len(words)) if drift else "",
            word_svg=plots.word_plot(words, "words") if words else "",
            settings=yaml.safe_dump(dict(run.config), sort_keys=False, allow_unicode=True, width=100),
        )
    )
    path = run.folder / "release" / "report.html"
    write_atomic(path, page)
    return path


def evenly_spaced(items: Sequence[Any], most: int) -> list[Any]:
    """At most `most` of `items`, evenly spaced, the first and the last among them."""
    if len(items) <= most:
        return list(items)
    return [items[round(index * (len(items) - 1) / (most - 1))] for index in range(most)]


def vote_curve(generation: GenerationData) -> Curve:
    """Noised votes of the generation's best text, of its survivors on average, and of all its texts on average."""
    counts = generation.counts_K
    kept = [candidate.id in generation.selected for candidate in generation.candidates]
    survivors = counts[np.array(kept, dtype=np.bool_)]
    average = float(counts.mean()) if len(counts) else 0.0
    return Curve(
        best=float(counts.max(initial=0)),
        survivors=float(survivors.mean()) if len(survivors) else average,
        average=average,
        sigma=generation.sigma,
    )


def operator_shares(generation: GenerationData) -> dict[str, float]:
    """Share of the noised votes per operator; empty when the votes are not above their noise."""
    votes: Counter[str] = Counter()
    for candidate, count in zip(generation.candidates, generation.counts_K.tolist(), strict=True):
        votes[candidate.operator] += count
    # Noise can take an operator with few votes below zero; a share can't be.
    positive = {operator: count for operator, count in votes.items() if count > 0}
    total = sum(positive.values())
    if total <= 2 * generation.sigma * math.sqrt(len(generation.candidates)):
        return {}
    return {operator: count / total for operator, count in positive.items()}


def word_shifts(first: GenerationData, last: GenerationData) -> list[tuple[str, float, float]]:
    """(word, share of the first texts with it, share of the last noised votes for texts with it), largest gain first.

    Only words whose change is beyond twice its noise's standard deviation, so the plot does not tell noise.
    """
    total = float(last.counts_K.sum())
    if total <= 2 * last.sigma * math.sqrt(max(1, len(last.candidates))):
        return []
    before: Counter[str] = Counter()
    for candidate in first.candidates:
        before.update(_words(candidate.text))
    texts: Counter[str] = Counter()
    votes: Counter[str] = Counter()
    for candidate, count in zip(last.candidates, last.counts_K.tolist(), strict=True):
        for word in _words(candidate.text):
            texts[word] += 1
            votes[word] += count
    moved = []
    for word in sorted(before.keys() | texts.keys()):
        start, end = before[word] / len(first.candidates), max(0.0, votes[word] / total)
        noise = last.sigma * math.sqrt(texts[word]) / total
        if before[word] + texts[word] >= 2 and abs(end - start) > max(2 * noise, 0.01):
            moved.append((word, start, min(end, 1.0)))
    moved.sort(key=lambda entry: entry[1] - entry[2])
    gained = [entry for entry in moved if entry[2] > entry[1]][:_MAX_WORDS]
    lost = [entry for entry in moved if entry[2] < entry[1]][-_MAX_WORDS:]
    return gained + lost


def attacker_sentence(certificate: Mapping[str, Any]) -> str:
    """The bound on what anyone can learn of one record, in one sentence."""
    attacker = certificate.get("attacker") or {}
    if attacker.get("in_words"):
        return str(attacker["in_words"])
    advantage = attacker.get("advantage")
    if advantage is None:
        # What (epsilon, delta) alone implies for telling two neighbouring data sets apart (Kairouz et al. 2015).
        epsilon = release_epsilon(certificate) if "epsilon" in certificate else math.inf
        delta = float(certificate.get("delta", 0.0))
        advantage = 1.0 if epsilon > 50 else (math.exp(epsilon) - 1 + 2 * delta) / (math.exp(epsilon) + 1)
    return (
        f"Whoever tries to tell from this release whether one {certificate.get('unit', 'record')} was among the "
        f"private ones has an advantage of at most {100 * float(advantage):.1f} % over guessing."
    )


def mark_new_words(before: str | None, after: str) -> list[tuple[str, bool]]:
    """`after` in runs of words, each with whether it is new since `before`."""
    new = after.split()
    if before is None:
        return [(" ".join(new), False)]
    old = before.lower().split()
    matcher = difflib.SequenceMatcher(None, old, [word.lower() for word in new], autojunk=False)
    return [(" ".join(new[j1:j2]), tag != "equal") for tag, _, _, j1, j2 in matcher.get_opcodes() if j2 > j1]


def _words(text: str) -> set[str]:
    return {word for word in re.findall(r"[^\W\d_]{3,24}", text.lower())} - _STOP_WORDS


def _view(data: GenerationData) -> GenerationView:
    beyond = 0.5 * math.erfc(math.sqrt(2.0))  # P(noise > 2 sigma)
    return GenerationView(data, int(np.sum(data.counts_K > 2 * data.sigma)), beyond * len(data.candidates))


def _with_plots(views: Sequence[GenerationView]) -> list[GenerationView]:
    """Draw the histograms on one common scale."""
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


def _lineages(run: RunData) -> list[list[Any]]:
    """The longest chains of ancestors among the released texts, no two ending in one family."""
    if not run.generations:
        return []
    ids = evenly_spaced(list(dict.fromkeys(image.candidate_id for image in run.images)), 500)
    chains = sorted(
        lineages(run.folder, ids, run.generations[-1], run.generations[0]),
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


def _rerendering_of(config: Mapping[str, Any]) -> str:
    """The run whose texts were rendered, where that is all that was done."""
    origin = config.get("origin") or {}
    return str(origin["run"]) if origin.get("rerender") else ""


def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=jinja2.ChainableUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["number"] = readable_number
    environment.filters["up"] = rounded_up
    environment.filters["heading"] = lambda key: str(key).replace("_", " ").strip().capitalize()
    return environment


def readable_number(value: object) -> str:
    """A number for people: 1,232; 8.34213; 1e-5. Other values as they are."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        if value.is_integer() and abs(value) < 1e15:
            return f"{int(value):,}"
        return re.sub(r"e([+-])0+", r"e\1", f"{value:.6g}").replace("e+", "e")
    return "-" if value is None else str(value)
