"""Draws the report's plots: pure functions from numbers to inline SVG.

Colours are placeholders that become CSS variables, and text stays text. So the plots follow the page's light or dark
scheme and its fonts. Equal inputs give equal bytes.
"""

from __future__ import annotations

import io
import re
from collections.abc import Mapping, Sequence
from html import escape
from statistics import NormalDist

import numpy as np

from spti_ray.plotting import (
    Axes,
    Figure,
    MaxNLocator,
    NullFormatter,
    PercentFormatter,
    StrMethodFormatter,
    matplotlib,
)
from spti_ray.release.report.statistics import Curve
from spti_ray.types import CountArray

# Placeholder colour -> CSS variable. Near-black values that no matplotlib default uses.
INK, MUTED, LINE, ACCENT, WARM, COOL, BAND = "#010101", "#020202", "#030303", "#040404", "#050505", "#060606", "#070707"
_VARIABLES = {
    INK: "--ink",
    MUTED: "--muted",
    LINE: "--line",
    ACCENT: "--accent",
    WARM: "--warm",
    COOL: "--cool",
    BAND: "--band",
}
_OPERATOR_COLORS = {"random": MUTED, "rephrase": ACCENT, "fill": WARM}
_MAX_POINTS = 400


def histogram_plot(counts_K: CountArray, sigma: float, limits: tuple[float, float], name: str) -> str:
    """Noised counts by rank, with the band in which 95 % of pure noise lies.

    Args:
        counts_K: Noised counts in falling order.
        sigma: The noise's standard deviation.
        limits: Lowest and highest count of the axis.
        name: Makes the ids in the SVG unique on the page.
    """
    num = len(counts_K)
    figure, axes = _figure(3.4, 2.1)
    ranks = np.arange(1, num + 1)
    shown = _thin(num)
    axes.axhspan(-2 * sigma, 2 * sigma, color=BAND, linewidth=0)
    axes.axhline(0, color=LINE, linewidth=0.8)
    above = counts_K > 2 * sigma
    if num <= 120:
        axes.bar(ranks[above], counts_K[above], width=0.82, color=ACCENT, linewidth=0)
        axes.bar(ranks[~above], counts_K[~above], width=0.82, color=MUTED, alpha=0.55, linewidth=0)
    else:
        values = counts_K[shown]
        axes.fill_between(ranks[shown], 0, values, where=values > 2 * sigma, color=ACCENT, linewidth=0)
        axes.plot(ranks[shown], values, color=MUTED, linewidth=1.1)
        axes.plot(ranks[above & np.isin(ranks - 1, shown)], counts_K[above & np.isin(ranks - 1, shown)], color=ACCENT)
    noise = NormalDist(0.0, max(sigma, 1e-9))
    expected = [noise.inv_cdf((num - rank + 0.5) / num) for rank in ranks[shown]]
    axes.plot(ranks[shown], expected, color=INK, linewidth=1.0, linestyle=(0, (3, 2)))
    if num > 300:
        axes.set_xscale("log")
        axes.xaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))  # the default one writes math
        axes.xaxis.set_minor_formatter(NullFormatter())
    else:
        axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
    axes.set_xlim(0.4 if num <= 300 else 0.9, num + 0.6)
    axes.set_ylim(*limits)
    axes.yaxis.set_major_locator(MaxNLocator(5, integer=True))
    axes.set_xlabel("rank of the text")
    axes.set_ylabel("noised votes")
    return _svg(figure, name, f"Noised votes by rank for {num} texts, with the band of plus and minus two sigma")


def curve_plot(generations: Sequence[int], curves: Sequence[Curve], name: str) -> str:
    """Noised votes over generations: of the best text, and of survivors and all texts on average."""
    figure, axes = _figure(7.2, 2.6)
    band = [2 * curve.sigma for curve in curves]
    axes.fill_between(generations, [-height for height in band], band, color=BAND, linewidth=0)
    for label, color, values in (
        ("best", ACCENT, [curve.best for curve in curves]),
        ("survivors, on average", COOL, [curve.survivors for curve in curves]),
        ("all, on average", MUTED, [curve.average for curve in curves]),
    ):
        axes.plot(generations, values, color=color, linewidth=1.6, marker="o", markersize=3.5, label=label)
    axes.axhline(0, color=LINE, linewidth=0.8)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_xlabel("generation")
    axes.set_ylabel("noised votes")
    axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=3, frameon=False, handlelength=1.4, fontsize=9)
    return _svg(figure, name, "Noised votes of the best text, the survivors and all texts, per generation")


def operator_plot(shares: Sequence[Mapping[str, float]], generations: Sequence[int], name: str, rows: int = 0) -> str:
    """Stacked bars: share of the noised votes by the operator that wrote the texts, per generation.

    `rows`: number of words in the plot beside it, which sets the common height.
    """
    figure, axes = _figure(4.6, max(2.7, _word_height_in(rows)))
    bottom = np.zeros(len(shares))
    positions = np.arange(len(shares))
    for operator, color in _OPERATOR_COLORS.items():
        values = np.array([share.get(operator, 0.0) for share in shares])
        if not values.any():
            continue
        axes.bar(positions, values, bottom=bottom, width=0.72, color=color, linewidth=0, label=operator)
        bottom += values
    step = max(1, len(shares) // 10)
    axes.set_xticks(positions[::step], [str(number) for number in generations[::step]])
    axes.set_ylim(0, 1)
    axes.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
    axes.set_xlabel("generation")
    axes.set_ylabel("share of the noised votes")
    axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=3, frameon=False, handlelength=1, fontsize=9)
    return _svg(figure, name, "Share of the noised votes by the operator that wrote the text, per generation")


def word_plot(words: Sequence[tuple[str, float, float]], name: str) -> str:
    """Dumbbells: (word, share of the first texts that have it, share of the last noised votes for texts with it)."""
    figure, axes = _figure(4.6, _word_height_in(len(words)))
    for row, (_, start, end) in enumerate(reversed(words)):
        color = ACCENT if end > start else WARM
        axes.plot([start, end], [row, row], color=color, linewidth=2.2, alpha=0.45, solid_capstyle="round")
        axes.plot([start], [row], "o", markersize=4.5, markerfacecolor="none", markeredgecolor=MUTED)
        axes.plot([end], [row], "o", markersize=6, color=color, markeredgewidth=0)
    # Words come from a language model: never let matplotlib read them as math.
    axes.set_yticks(range(len(words)), [word for word, _, _ in reversed(words)], parse_math=False)
    axes.tick_params(axis="y", length=0, labelcolor=INK)
    axes.set_ylim(-0.6, len(words) - 0.4)
    axes.grid(axis="y", color=LINE, linewidth=0.5)
    axes.xaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
    axes.set_xlabel("share:  ○ of the first texts   ● of the last noised votes")
    axes.spines["left"].set_visible(False)
    return _svg(figure, name, "Words that gained or lost between the first texts and the last noised votes")


def _word_height_in(rows: int) -> float:
    return 0.75 + 0.235 * rows


def _thin(num: int) -> np.ndarray:
    """Indices to draw: all if there are few; else evenly spaced in the logarithm, so that the top ranks stay exact."""
    if num <= _MAX_POINTS:
        return np.arange(num)
    return np.unique(np.geomspace(1, num, _MAX_POINTS).round().astype(int) - 1)


def _figure(width_in: float, height_in: float) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(width_in, height_in), layout="constrained")
    axes = figure.add_subplot()
    figure.patch.set_visible(False)
    axes.patch.set_visible(False)
    for side, spine in axes.spines.items():
        spine.set_visible(side in ("left", "bottom"))
        spine.set_color(LINE)
    axes.tick_params(color=LINE, labelcolor=MUTED, labelsize=8.5, length=3)
    axes.xaxis.label.set(color=MUTED, fontsize=9)
    axes.yaxis.label.set(color=MUTED, fontsize=9)
    return figure, axes


def _svg(figure: Figure, name: str, description: str) -> str:
    """The figure as an SVG element: scaled by CSS, with ids unique by `name` and colours from CSS variables."""
    buffer = io.StringIO()
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": "spti-ray", "text.parse_math": False}):
        for axes in figure.axes:
            legend = axes.get_legend()
            for text in legend.get_texts() if legend else ():
                text.set_color(MUTED)
        figure.savefig(buffer, format="svg", metadata=dict.fromkeys(("Creator", "Date", "Format", "Type")))
    svg = buffer.getvalue()
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"\s*<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r"<!--.*?-->\s*", "", svg, flags=re.DOTALL)
    svg = re.sub(r'\b(id="|href="#|url\(#)', rf"\g<1>{name}-", svg)
    svg = re.sub(r"font: ([\d.]+px)[^;\"]*", r"font-size: \1", svg)
    for placeholder, variable in _VARIABLES.items():
        svg = svg.replace(placeholder, f"var({variable})")
    opening = svg[: svg.index(">") + 1]
    width, height = (float(re.search(rf'\b{side}="([\d.]+)pt"', opening)[1]) for side in ("width", "height"))  # type: ignore[index]
    head = (
        f'<svg viewBox="0 0 {width:g} {height:g}" role="img" aria-label="{escape(description)}" '
        'xmlns:xlink="http://www.w3.org/1999/xlink" xmlns="http://www.w3.org/2000/svg">'
    )
    return head + svg[len(opening) :].strip()
