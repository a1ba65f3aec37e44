"""The answer of a measurement (`figure.json`), made from its noised counts and its task. Post-processing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from spti_ray.config.measure import Task
from spti_ray.public.noised_ratio import NoisedRatio, noised_ratio
from spti_ray.types import NoisyHistogram

FORMAT = "spti-ray figure 1"

RIGHT, WRONG = "right", "wrong"

_STATEMENT = (
    "Noised counts of private {units}, and their ratio right / (right + wrong). Differentially private; privacy.json "
    "has the epsilon of this figure and of the release together. of_these is an interval for the ratio of exactly "
    "these private {units}: it accounts for the noise alone. of_such is one for {units} of the kind that these are a "
    "random sample of: it accounts for noise and sampling. Each holds with the confidence that is given, by itself. "
    "Counted are {units} that can vote: of others (no image, no listed label) nothing is said."
)


def figure(task: Task, histogram: NoisyHistogram, unit: str, facts: Mapping[str, Any]) -> dict[str, Any]:
    """The document of an answer, all of it a function of what is given.

    Args:
        task: what was asked.
        histogram: the noised counts, whose ids are the probe's cells.
        unit: the privacy unit, record or group.
        facts: public facts for the record, of which the counts say nothing: the embedder, the probe.
    """
    cells = dict(zip(histogram.candidate_ids, histogram.counts_K.tolist(), strict=True))
    labels = [cell.removesuffix(f": {RIGHT}") for cell in cells if cell.endswith(f": {RIGHT}")] if task.by_class else []
    right = sum(cells[f"{label}: {RIGHT}"] for label in labels) if labels else cells[RIGHT]
    wrong = sum(cells[f"{label}: {WRONG}"] for label in labels) if labels else cells[WRONG]
    sigma, confidence = histogram.sigma, task.confidence
    document: dict[str, Any] = {
        "format": FORMAT,
        "statement": _STATEMENT.format(units=f"{unit}s"),
        "task": task.model_dump(mode="json"),
        "unit": unit,
        "sigma": sigma,
        "confidence": confidence,
        **_plain(noised_ratio(right, wrong, sigma, confidence, max(1, len(labels)))),
    }
    if labels:
        document["classes"] = [
            {"label": label}
            | _plain(noised_ratio(cells[f"{label}: {RIGHT}"], cells[f"{label}: {WRONG}"], sigma, confidence))
            for label in labels
        ]
    return document | {
        "probe_sha256": histogram.candidates_sha256,
        "counts_sha256": histogram.artifact_sha256,
        "facts": dict(facts),
    }


def _plain(found: NoisedRatio) -> dict[str, Any]:
    return asdict(found) | {"of_these": list(found.of_these), "of_such": list(found.of_such)}


def lines_of(document: Mapping[str, Any]) -> list[str]:
    """The answer for people."""
    task, percent = document["task"]["task"], f"{100 * document['confidence']:g} %"
    lines = [
        f"{task}: {_shown(document)}",
        f"right {document['right']}, wrong {document['wrong']}: noised counts, sigma {document['sigma']:.4g}",
    ]
    lines += [f"  {row['label']}: {_shown(row)}" for row in document.get("classes", ())]
    if document["facts"].get("embedder_voted"):
        lines.append("its embedder voted too, and so favours what it chose; another one (embedder) is the fairer judge")
    return [
        *lines,
        f"{percent} intervals; of these: for exactly these private {document['unit']}s, from the noise alone; of such: "
        "for others that they are a random sample of, from noise and sampling",
    ]


def _shown(row: Mapping[str, Any]) -> str:
    ratio = "no ratio, since the noised counts are not positive" if row["ratio"] is None else f"{row['ratio']:.4f}"
    (low, high), (least, most) = row["of_these"], row["of_such"]
    return f"{ratio} (of these {low:.4f} to {high:.4f}; of such {least:.4f} to {most:.4f})"
