"""In which space had private images better vote? Votes without a run: private sets on generation 0 of finished runs.

    python -m jobs.shifted_sets --work runs/shifted
    spti run jobs/stickers.yaml --out runs/gen0-seed100 --set runtime.seed=100 --set evolution.generations=1 \\
        --set evolution.candidates=640 --set "runtime.engines={renderer: {dtype: float32}}"
    python -m jobs.compare_voters --sets runs/shifted/tune-*.parquet --run runs/gen0-* --out jobs/results/voters

Each private image votes for the nearest candidate, or for the nearest of 80 themes, in each space that the bundled
models have (`jobs.embedded.voters`). Shares of candidates follow their votes; those of noised votes are settled as
votes on themes are in a run (Norm-Sub). Written are `report.md` and `figures.json`:

* off: the share of votes for candidates whose subject is none of the set's groups. A candidate's subject group is that
  of the emoji whose name and keywords are nearest to its text.
* blip, clip: the squared discrepancy (KID's kernel) of the private images and the candidates, weighted by their votes,
  in the space of that network's output. Where it took part in the vote itself, the figure stands in brackets. There is
  none where noise left all to one candidate.
* voted: how many different candidates, or themes, have a vote.

Means over runs; of themes over k-means seeds also, and of noised votes over draws. Centring and whitening know the
candidates alone. The figures are internal, not differentially private. Sets that results are reported for are refused.
"""

from __future__ import annotations

import argparse
import io
import json
import shlex
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from PIL import Image
from scipy.cluster.vq import kmeans2

from jobs.embedded.icons import fetch, read_icons
from jobs.embedded.voters import Features, Pair, image_features, revisions, spaces, text_features, unit
from jobs.shifted_sets import REPORTED, TO_TUNE
from spti_ray.config.loading import load_config
from spti_ray.evaluate.kernels import KernelMatrices, cubic
from spti_ray.io.files import sha256_of, write_atomic
from spti_ray.planning.plan import noise_plan

THEMES, SEEDS, DRAWS, GENERATIONS = 80, 5, 10, 3
"""Themes, k-means seeds (0 and up), draws of noise, and the queries that share epsilon."""

PRIVACY = ("privacy.epsilon=1", "privacy.delta=1e-5", "privacy.votes_per_record=1", "privacy.spare_slots=0")

JUDGES = ("blip", "clip")
COLUMNS = ("single", "themes", "single, noised", "themes, noised")

Figures = dict[str, float]
Themes = list[np.ndarray]
"""Row numbers of each theme's members."""


def themes(rows: np.ndarray, seed: int) -> Themes:
    """K-means as in a run (`spti_ray.public.themes`, which jobs may not import)."""
    _, group = kmeans2(rows, THEMES, 30, minit="++", rng=np.random.default_rng(seed))
    return [np.flatnonzero(group == each) for each in np.unique(group)]


def settled(counts: np.ndarray) -> np.ndarray:
    """Norm-Sub, as in a run: less one amount, none negative, and the same sum."""
    if counts.sum() <= 0:
        return np.ones(len(counts))
    falling = np.sort(counts)[::-1]
    excess = (np.cumsum(falling) - counts.sum()) / np.arange(1, len(counts) + 1)
    return np.maximum(counts - excess[np.flatnonzero(falling > excess)[-1]], 0.0)


def spread(counts: np.ndarray, groups: Themes) -> np.ndarray:
    """Each theme's count in equal parts for its members."""
    shares = np.zeros(sum(len(group) for group in groups))
    for count, group in zip(counts, groups, strict=True):
        shares[group] = count / len(group)
    return shares


def noised(votes: np.ndarray, sigma: float, seed: int) -> np.ndarray:
    return settled(np.rint(votes + np.random.default_rng(seed).normal(0, sigma, len(votes))))


@dataclass(frozen=True)
class Measure:
    """Figures of shares of the candidates, for one set and one run."""

    on: np.ndarray
    kernels: dict[str, KernelMatrices]

    def __call__(self, shares: np.ndarray) -> Figures:
        found = {"off": float(1 - shares[self.on].sum() / shares.sum())}
        return found | {judge: kernels.mmd2(shares) for judge, kernels in self.kernels.items()}


def mean(figures: Sequence[Figures]) -> Figures:
    return {key: float(np.mean([each[key] for each in figures])) for key in figures[0]}


def votes_in(
    pair: Pair, grouped: Sequence[Themes], measure: Measure, sigma: float
) -> tuple[dict[str, Figures], np.ndarray]:
    """The figures of one space, and which of the private images chose a single candidate off the set's subjects."""
    public, private = pair
    choice = (private @ public.T).argmax(axis=1)
    votes = np.bincount(choice, minlength=len(public)).astype(float)
    by_theme, by_noised_theme = [], []
    for seed, groups in enumerate(grouped):
        places = unit(np.stack([public[group].mean(axis=0) for group in groups]))
        counts = np.bincount((private @ places.T).argmax(axis=1), minlength=len(groups)).astype(float)
        by_theme.append(measure(spread(counts, groups)) | {"voted": float((counts > 0).sum())})
        for draw in range(seed, DRAWS, SEEDS):
            by_noised_theme.append(measure(spread(noised(counts, sigma, draw), groups)))
    figures = {
        "single": measure(votes) | {"voted": float((votes > 0).sum())},
        "themes": mean(by_theme),
        "single, noised": mean([measure(noised(votes, sigma, draw)) for draw in range(DRAWS)]),
        "themes, noised": mean(by_noised_theme),
    }
    return figures, ~measure.on[choice]


def compare(
    sets: dict[str, tuple[Features, set[str]]], runs: Sequence[tuple[Features, np.ndarray]], sigma: float
) -> dict[str, dict]:
    """By set: the figures of generation 0 as it is, and then those of each space."""
    found: dict[str, dict] = {}
    measures: dict[str, list[Measure]] = {}
    default: dict[str, np.ndarray] = {}
    for name, (private, subjects) in sets.items():
        kernels = [{judge: _kernels(public[judge], private[judge]) for judge in JUDGES} for public, _ in runs]
        on = [np.isin(group, list(subjects)) for _, group in runs]
        measures[name] = [Measure(*each) for each in zip(on, kernels, strict=True)]
        alike = mean([measure(np.ones(len(measure.on))) for measure in measures[name]])
        found[name] = {"all candidates alike": {"single": alike, "voted in": []}}
    for space_name, space in spaces().items():
        # Where a candidate lies depends on no private image.
        grouped = [[themes(space(public, public)[0], seed) for seed in range(SEEDS)] for public, _ in runs]
        for name, (private, _) in sets.items():
            pairs = [space(public, private) for public, _ in runs]
            parts = [votes_in(*each, sigma) for each in zip(pairs, grouped, measures[name], strict=True)]
            off = np.mean([part[1] for part in parts], axis=0)
            less = off - default.setdefault(name, off)
            row: dict = {column: mean([part[0][column] for part in parts]) for column in COLUMNS}
            row["off, less the default's"] = {
                "less": float(less.mean()),
                "error": float(less.std(ddof=1) / len(less) ** 0.5),
            }
            row["voted in"] = [judge for judge in JUDGES if judge in space_name]
            found[name][space_name] = row
            print(f"{name}, {space_name}: {json.dumps(row['single'])}", flush=True)
    return found


def _kernels(public: np.ndarray, private: np.ndarray) -> KernelMatrices:
    x, y = (unit(rows) * rows.shape[1] ** 0.5 for rows in (public, private))
    return KernelMatrices(cubic(x, x), cubic(x, y), cubic(y, y))


def report(found: dict[str, dict], settings: dict) -> str:
    lines = ["# In which space had private images better vote?", "", "INTERNAL: not differentially private.", ""]
    lines += [f"Made by `{settings['command']}`. Cells are off / blip / clip, voted, as `jobs/compare_voters.py` says;"]
    lines += [
        f"in brackets what a network says of its own vote. {THEMES} themes; noise of sigma {settings['sigma']:.2f}."
    ]
    for name, rows in found.items():
        lines += ["", f"## {name}: {settings['sets'][name]['images']} images", ""]
        lines += ["| space | off, less the default's | " + " | ".join(COLUMNS) + " |", "|---" * 6 + "|"]
        for space, row in rows.items():
            difference = row.get("off, less the default's")
            cells = [f"{difference['less']:+.3f} ± {difference['error']:.3f}" if difference else ""]
            for column in COLUMNS:
                figures = row.get(column, {})
                values: list[str] = []
                for key in ("off", *JUDGES) if figures else ():
                    value = "none" if figures[key] is None else f"{figures[key]:.3f}"
                    values.append(f"({value})" if key in row["voted in"] else value)
                voted = f", {figures['voted']:.0f}" if "voted" in figures else ""
                cells.append(" / ".join(values) + voted)
            lines.append(f"| {space} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def image_of(png: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(png)).convert("RGB"))


def candidates_of(run: Path) -> tuple[list[str], list[np.ndarray]]:
    """Texts and renders (the first of each) of a run's generation 0."""
    folder = run / "generations" / "00"
    candidates = pq.read_table(folder / "candidates.parquet", columns=["id", "text"]).to_pydict()
    renders = pq.read_table(folder / "renders.parquet", columns=["candidate_id", "variant", "png"]).to_pylist()
    first = {row["candidate_id"]: row["png"] for row in renders if row["variant"] == 0}
    known = [(text, image_of(first[id_])) for id_, text in zip(*candidates.values(), strict=True) if id_ in first]
    return [text for text, _ in known], [image for _, image in known]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sets", type=Path, nargs="+", required=True, help="files of jobs.shifted_sets, or alike")
    parser.add_argument("--run", type=Path, nargs="+", required=True, help="folders of runs that have a generation 0")
    parser.add_argument("--out", type=Path, required=True, help="folder of the report")
    parser.add_argument("--names", type=Path, help="folder of emoji names from npm (npm-tune beside the first set)")
    given = parser.parse_args()
    if refused := [file.stem for file in given.sets if file.stem in REPORTED]:
        print(f"compare_voters: results are reported for {', '.join(refused)}: choose nothing on it", file=sys.stderr)
        return 2
    config = load_config(Path("jobs/stickers.yaml"), [*PRIVACY, f"evolution.generations={GENERATIONS}"])
    sigma = noise_plan(config).sigma
    npm = given.names or given.sets[0].parent / "npm-tune"
    fetch(npm, TO_TUNE)
    emoji = list({icon.emoji.name: icon.emoji for icon in read_icons(npm, TO_TUNE)}.values())
    names = text_features([" ".join((each.name, *each.keywords[:3])) for each in emoji])
    runs: list[tuple[Features, np.ndarray]] = []
    for run in given.run:
        texts, renders = candidates_of(run)
        public = image_features(renders) | {"text": text_features(texts)}
        runs.append((public, np.array([emoji[at].group for at in (public["text"] @ names.T).argmax(axis=1)])))
    sets: dict[str, tuple[Features, set[str]]] = {}
    for file in given.sets:
        table = pq.read_table(file, columns=["image", "label"]).to_pydict()
        sets[file.stem] = image_features([image_of(each["bytes"]) for each in table["image"]]), set(table["label"])
    found = json.loads(json.dumps(compare(sets, runs, sigma)), parse_constant=lambda _: None)
    settings = {
        "command": f"python -m jobs.compare_voters {shlex.join(sys.argv[1:])}",
        "runs": {str(run): sha256_of(run / "generations/00/candidates.parquet") for run in given.run},
        "candidates": [len(group) for _, group in runs],
        "sets": {
            file.stem: {"images": len(private["clip"]), "subjects": sorted(subjects), "sha256": sha256_of(file)}
            for file, (private, subjects) in zip(given.sets, sets.values(), strict=True)
        },
        "models": revisions(),
        "privacy": f"epsilon 1, delta 1e-5, {GENERATIONS} queries, one vote per record",
        "sigma": sigma,
        "themes": THEMES,
        "k-means seeds": list(range(SEEDS)),
        "noise seeds": list(range(DRAWS)),
    }
    given.out.mkdir(parents=True, exist_ok=True)
    write_atomic(given.out / "figures.json", json.dumps({"settings": settings, "figures": found}, indent=1) + "\n")
    write_atomic(given.out / "report.md", report(found, settings))
    return 0


if __name__ == "__main__":
    sys.exit(main())
