"""Plots the bench's results as one picture."""

from __future__ import annotations

import io
import json
from functools import partial
from pathlib import Path
from typing import Any

from spti_ray.plotting import Axes, Figure

_INK, _ACCENT, _WARM, _MUTED = "#222222", "#2a6fb0", "#c8641e", "#9a9a9a"


def plot(document: dict[str, Any], timeline: Path) -> bytes:
    """Draw a PNG with a panel for each part that has one.

    Args:
        document: The results, as in throughput.json.
        timeline: The file with the Chrome trace of streaming.
    """
    panels = [
        (draw, document[name])
        for name, draw in (
            ("engines", _engines),
            ("scaling", _scaling),
            ("streaming", partial(_streaming, timeline)),
            ("model", _model),
        )
        if name in document
    ]
    figure = Figure(figsize=(11, 3.2 * max(1, -(-len(panels) // 2))), layout="constrained", dpi=110)
    for number, (draw, part) in enumerate(panels, start=1):
        axes = figure.add_subplot(-(-len(panels) // 2), 2, number)
        axes.spines[["top", "right"]].set_visible(False)
        draw(axes, part)
    picture = io.BytesIO()
    figure.savefig(picture, format="png")
    return picture.getvalue()


def _engines(axes: Axes, part: dict[str, Any]) -> None:
    axes.set_title("Engines in their pool, over the same engine called bare", loc="left", fontsize=10)
    names = list(part)
    axes.barh(names, [part[name]["ratio"] for name in names], color=_ACCENT, height=0.6)
    for row, name in enumerate(names):
        rate = f"{part[name]['ratio']:.3f}   {part[name]['pool']:,.1f} {part[name]['rate_of']}"
        axes.text(0.02, row, rate, color="white", va="center", fontsize=9)
    axes.axvline(1.0, color=_INK, linewidth=0.8)
    axes.invert_yaxis()
    axes.set_xlim(0, 1.15)


def _scaling(axes: Axes, part: dict[str, Any]) -> None:
    axes.set_title("Scaling efficiency, SIMULATED engines in Ray actors", loc="left", fontsize=10)
    for name, style in (("strong", "--"), ("weak", "-")):
        for seconds, color in (("1s", _ACCENT), ("0.1s", _WARM)):
            label = f"{name}, units of {seconds}"
            axes.plot(part["actors"], part[f"{name}_{seconds}"], style, marker="o", color=color, label=label)
    axes.set_xscale("log", base=2)
    axes.set_xticks(part["actors"], [str(size) for size in part["actors"]])
    axes.set_ylim(0.5, 1.02)
    axes.set_xlabel("actors")
    axes.legend(fontsize=8, frameon=False)


def _streaming(timeline: Path, axes: Axes, part: dict[str, Any]) -> None:
    title = f"With barriers, then streaming (SIMULATED): {part['ratio']:.2f} of the time"
    axes.set_title(title, loc="left", fontsize=10)
    colors = {"driver": _MUTED, "writer": _ACCENT, "renderer": _WARM, "image_embedder": _INK}
    events = json.loads(timeline.read_text(encoding="utf-8"))["traceEvents"]
    names = {event["tid"]: event["args"]["name"] for event in events if event["ph"] == "M"}
    for row, name in names.items():
        color = colors.get(name.rpartition(" ")[0] or name, _INK)
        bars = [
            (event["ts"] / 1e6, event["dur"] / 1e6) for event in events if event["ph"] == "X" and event["tid"] == row
        ]
        axes.broken_barh(bars, (row - 0.35, 0.7), color=color, edgecolor="white", linewidth=0.3)
    axes.set_yticks(list(names), list(names.values()))
    axes.invert_yaxis()
    axes.set_xlabel("seconds")


def _model(axes: Axes, part: dict[str, Any]) -> None:
    rows = part["many_actors"]
    title = f"{rows[0]['actors']:,} engines, SIMULATED, driver at {part['driver_us_per_unit']:g} us a unit"
    axes.set_title(title, loc="left", fontsize=10)
    axes.plot([row["unit_s"] for row in rows], [row["efficiency"] for row in rows], marker="o", color=_ACCENT)
    axes.set_xscale("log")
    axes.set_xticks([row["unit_s"] for row in rows], [f"{row['unit_s']:g}" for row in rows])
    axes.set_ylim(0, 1.05)
    axes.set_xlabel("seconds of a unit")
    axes.set_ylabel("share of time at work")
