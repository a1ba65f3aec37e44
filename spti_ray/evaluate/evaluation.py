"""Evaluates one set of images against the private reference: all metrics, with intervals, yardsticks and warnings.

Sets that are evaluated against one reference with the same seed and the same `size` can be compared: half A and the
number of images are the same for all.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache

import numpy as np

from spti_ray.evaluate.bootstrap import RESAMPLES, Estimate, Floats, estimate_mean, resample_weights
from spti_ray.evaluate.distribution_metrics import LEADING, DistributionMetrics, num_resamples
from spti_ray.evaluate.downstream import CLASSIFIER, check_held_out, labelled, measure_downstream
from spti_ray.evaluate.label_metrics import chance_label_distance, label_distance, linear_probe
from spti_ray.evaluate.manifold import NEAREST, check_copies
from spti_ray.evaluate.reference import MIN_RECORDS, EvaluationFailed, Reference
from spti_ray.evaluate.result import Better, EvaluationResult, Metric
from spti_ray.models.protocols import ImageTextJudge, Judge
from spti_ray.types import SINGLE_LABEL, ImageArray, derive_seed

MIN_IMAGES = 2 * NEAREST

_CHUNK = 256
_DRAWS = 5
_FEW_NEIGHBOURS = 500
_HELD_OUT = "held-out real images"

_DESCRIPTIONS: dict[str, tuple[Better, str]] = {
    "kid": ("lower", "kernel distance, cubic kernel, unbiased"),
    "cmmd": ("lower", "kernel distance, Gaussian kernel of width 10 on features of length 1, unbiased, times 1000"),
    "frechet_infinity": ("lower", "Fréchet distance extrapolated to infinitely many samples"),
    "frechet": ("lower", "Fréchet distance of the features"),
    "frechet_leading": ("lower", f"the same in the reference's {LEADING} leading principal directions"),
    "precision": ("higher", f"share of images within a real image's {NEAREST} nearest"),
    "recall": ("higher", f"share of real images within an image's {NEAREST} nearest"),
    "density": ("higher", f"real neighbourhoods that an image is in, over {NEAREST}"),
    "coverage": ("higher", f"share of real images with an image among their {NEAREST} nearest"),
    "vendi": ("higher", "how many different images there are in effect"),
    "clip_score": ("higher", "100 times the cosine of image and text, at least 0"),
    "copied": ("near 0", "share of images nearer to a record than 99 % of the records are to one another"),
    "nearest_ratio": ("near 1", "median distance to the nearest record, over that among records; far below 1: copies"),
    "label_distance": ("lower", "total variation between the label distributions"),
    "downstream_accuracy": ("higher", f"{CLASSIFIER}, trained on the images, tested on real ones"),
    "downstream_ratio": ("higher", "downstream accuracy over that of as many real images"),
    "downstream_ceiling": ("higher", "the same, trained on all real images that it is not tested on"),
}


def embed_images(images: Sequence[ImageArray], judge: Judge) -> Floats:
    """Features [N, E] of N images, computed a few hundred at a time."""
    chunks = [judge.features(images[i : i + _CHUNK]) for i in range(0, len(images), _CHUNK)]
    return np.concatenate(chunks).astype(np.float64)


def choose_images(num_images: int, size: int | None, seed: int) -> list[int]:
    """Indices of the images to evaluate, in order: all, or a seeded random choice of `size` of them."""
    if size is None or size >= num_images:
        return list(range(num_images))
    return sorted(np.random.default_rng(derive_seed(seed, "size")).permutation(num_images)[:size].tolist())


def evaluate(
    images: Sequence[ImageArray],
    texts: Sequence[str] | None,
    labels: Sequence[str] | None,
    reference: Reference,
    *,
    judge: Judge,
    image_text: ImageTextJudge | None = None,
    seed: int = 0,
    resamples: int = RESAMPLES,
    size: int | None = None,
    name: str = "images",
    voters: Sequence[str] = (),
    independent: bool | None = None,
    image_text_voted: bool = False,
    held_out: Reference | None = None,
    embed: Callable[[Sequence[int]], Floats] | None = None,
) -> EvaluationResult:
    """Compute all metrics of N images against the private reference. The result is INTERNAL: it is not private.

    Whoever calls this for a run must first record the look in its ledger (`ledger_record.record_evaluation`).

    Args:
        images: N images, HWC uint8 RGB, of any sizes.
        texts: Their N texts, or None.
        labels: Their N labels, or None.
        reference: The private features, embedded by `judge`.
        judge: The encoder that judges.
        image_text: Scores images against their texts; None for no such score.
        seed: Public seed of halves, choices and resamples.
        resamples: How many bootstrap resamples the intervals come from.
        size: At most this many images are used, and never more than half B has: real images must be able to take
            their place.
        name: Name of the result.
        voters: The networks that voted, in words.
        independent: Whether the judge is none of them; None if that is not known.
        image_text_voted: Whether `image_text` is one of them.
        held_out: Real images with labels that did not vote, embedded by `judge`: classifiers are tested on them, and as
            many real images to train on come from all of the reference. Without it they are tested on half B.
        embed: Gives the features of the images with these numbers, by `judge`; without it they are computed.

    Raises:
        EvaluationFailed: too few images, another judge than the reference's, or held-out images that are among the
            reference's or have no labels; one line.
    """
    if judge.identity() != reference.judge:
        raise EvaluationFailed("the reference was embedded by another judge; load it with this one")
    if held_out is not None:
        check_held_out(held_out, reference)
    num_held_out = len(reference.halves(seed)[1])
    chosen = choose_images(len(images), min(size or num_held_out, num_held_out), seed)
    if len(chosen) < MIN_IMAGES:
        raise EvaluationFailed(f"{name}: {len(chosen)} images are too few; at least {MIN_IMAGES} are needed")
    picked = [images[i] for i in chosen]
    features_NE = embed_images(picked, judge) if embed is None else embed(chosen)
    if not np.isfinite(features_NE).all():
        raise EvaluationFailed(f"{name}: the judge gives values that are not finite")
    picked_texts = None if texts is None else [texts[i] for i in chosen]
    picked_labels = None if labels is None else [labels[i] for i in chosen]
    evaluation = _Evaluation(reference, features_NE, picked_texts, picked_labels, seed, resamples, held_out)
    evaluation.measure_distances()
    evaluation.measure_copies()
    evaluation.measure_texts(picked, image_text, image_text_voted)
    evaluation.measure_labels()
    if independent is False:
        evaluation.warnings.append("the judge is a network that voted: it favours what it chose; use another --judge")
    return EvaluationResult(
        name=name,
        judge=judge.identity(),
        independent=independent,
        voters=tuple(voters),
        reference=reference.data,
        seed=seed,
        dimension=features_NE.shape[1],
        num_given=len(images),
        num_generated=len(picked),
        num_reference=len(evaluation.a),
        num_held_out=num_held_out,
        num_unusable=reference.num_unusable,
        metrics=tuple(evaluation.metrics),
        skipped=evaluation.skipped,
        warnings=tuple(evaluation.warnings),
    )


@lru_cache(maxsize=1)
def _half_a(reference: Reference, seed: int) -> DistributionMetrics:
    """Half A, prepared. Cached, since many image sets are measured against one reference."""
    rows = reference.halves(seed)[0]
    return DistributionMetrics(reference.features_PE[rows], reference.groups_P[rows])


@lru_cache(maxsize=8)
def _yardsticks(reference: Reference, seed: int, size: int) -> dict[str, float]:
    """The metrics of `size` real images of half B: the mean over a few random choices of them."""
    half_b, half_a = reference.halves(seed)[1], _half_a(reference, seed)
    found: list[dict[str, Estimate]] = []
    for i in range(1 if size == len(half_b) else _DRAWS):
        rows = np.random.default_rng(derive_seed(seed, "yardstick", i)).permutation(half_b)[:size]
        x_NE, groups_N = reference.features_PE[rows], reference.groups_P[rows]
        found.append(half_a.measure(x_NE, groups_N, 0, derive_seed(seed, "floor", i)))
    return {name: float(np.mean([figures[name].value for figures in found])) for name in found[0]}


class _Evaluation:
    """Collects the metrics of one image set, with what was skipped and what to doubt."""

    def __init__(
        self,
        reference: Reference,
        features_NE: Floats,
        texts: list[str] | None,
        labels: list[str] | None,
        seed: int,
        resamples: int,
        held_out: Reference | None,
    ) -> None:
        self.a, self.b = reference.halves(seed)
        self.metrics: list[Metric] = []
        self.skipped: dict[str, str] = {}
        self.warnings: list[str] = []
        self._reference, self._x_NE, self._texts, self._held_out = reference, features_NE, texts, held_out
        self._labels = None if labels is None or set(labels) == {SINGLE_LABEL} else np.asarray(labels)
        # Images of one text resemble each other, so they are resampled together.
        self._clusters_N = np.unique(texts or np.arange(len(features_NE)), return_inverse=True)[1].astype(np.int64)
        self._seed, self._resamples = seed, resamples
        self._weights_RN = resample_weights(self._clusters_N, resamples, self._rng("images"))

    def _rng(self, *what: str | int) -> np.random.Generator:
        return np.random.default_rng(derive_seed(self._seed, *what))

    def _add(
        self,
        name: str,
        found: Estimate,
        yardstick: float | None = None,
        yardstick_is: str = "",
        about: str = "",
    ) -> None:
        better, usual = _DESCRIPTIONS[name]
        self.metrics.append(
            Metric(
                name=name,
                value=found.value,
                low=found.low,
                high=found.high,
                resamples=0 if found.low is None else num_resamples(name, self._resamples, self._x_NE.shape[1]),
                yardstick=yardstick,
                yardstick_is=yardstick_is,
                better=better,
                about=about or usual,
            )
        )

    def measure_distances(self) -> None:
        half_a = _half_a(self._reference, self._seed)
        found = half_a.measure(self._x_NE, self._clusters_N, self._resamples, derive_seed(self._seed, "distances"))
        yardsticks = _yardsticks(self._reference, self._seed, len(self._x_NE))
        for name, estimate in found.items():
            self._add(name, estimate, yardsticks[name], _HELD_OUT)
        n, dimension = self._x_NE.shape
        if n < dimension:
            self.warnings.append(
                f"frechet, frechet_infinity: {n} images are fewer than {dimension} feature dimensions: biased upwards, "
                "less so for sets of little variety; kid and cmmd have no such bias"
            )
        if n < 10 * LEADING:
            self.warnings.append(f"frechet_leading: biased below some {10 * LEADING} images ({n} here)")
        if n < _FEW_NEIGHBOURS:
            self.warnings.append(
                f"precision, recall, density, coverage: {n} images are few; their values depend on the number of images"
            )
        if len(np.unique(self._clusters_N)) < MIN_RECORDS:
            self.warnings.append(
                f"intervals: fewer than {MIN_RECORDS} images or texts to resample; they are too narrow"
            )

    def measure_copies(self) -> None:
        near = check_copies(self._x_NE, self._reference.features_PE)
        self._add("copied", estimate_mean(near.copied_N, self._weights_RN), 0.01, "of records among themselves")
        self._add("nearest_ratio", Estimate(near.ratio), 1.0, "of records among themselves")

    def measure_texts(self, images: Sequence[ImageArray], judge: ImageTextJudge | None, voted: bool) -> None:
        if self._texts is None or judge is None:
            self.skipped["clip_score"] = "the images have no texts" if self._texts is None else "no model was asked for"
            return
        cosines_NN = 100 * np.clip(judge.similarities(images, self._texts).astype(np.float64), 0.0, None)
        own_N = np.diagonal(cosines_NN)
        others = float((cosines_NN.sum() - own_N.sum()) / (cosines_NN.size - len(own_N)))
        about = f"{_DESCRIPTIONS['clip_score'][1]}, by {judge.identity()['model']}"
        self._add("clip_score", estimate_mean(own_N, self._weights_RN), others, "with the other images' texts", about)
        if voted:
            self.warnings.append("clip_score: by a network that voted; give another --clip for an independent score")

    def measure_labels(self) -> None:
        names = ("label_distance", "downstream_accuracy", "downstream_ratio", "downstream_ceiling")
        if self._reference.labels is None:
            self.skipped |= dict.fromkeys(names, "the reference has no labels (--label-column)")
            return
        if self._held_out is None:
            real, tested = labelled(self._reference, self.a), labelled(self._reference, self.b)
            on = f"{len(tested.labels_M)} records that no classifier saw; they voted, if this is the run's own data"
        else:
            real = labelled(self._reference, np.arange(len(self._reference.labels)))
            tested = labelled(self._held_out, np.arange(len(self._held_out.groups_P)))
            on = f"{len(tested.labels_M)} held-out real images, which did not vote"
        if len(np.unique(real.labels_M)) < 2 or not len(tested.labels_M):
            self.skipped |= dict.fromkeys(names, "the reference has fewer than two labels")
            return
        on_real = linear_probe(real.features_ME, real.labels_M)
        if self._labels is None:
            generated_N, compared = on_real.predict(self._x_NE), on_real.predict(tested.features_ME)
            about = f"{_DESCRIPTIONS['label_distance'][1]}, as a probe trained on real images sees them"
        else:
            generated_N, about = self._labels, ""
            compared = labelled(self._reference, np.arange(len(self._reference.labels))).labels_M
        chance = chance_label_distance(compared, len(generated_N), self._rng("labels"))
        found = label_distance(generated_N, compared, self._weights_RN)
        self._add("label_distance", found, chance, f"{len(generated_N)} real labels at random", about)
        if self._labels is None or len(np.unique(self._labels)) < 2:
            why = "have no labels" if self._labels is None else "have one label only"
            self.skipped |= dict.fromkeys(names[1:], f"the images {why}")
            return
        learned = measure_downstream(self._x_NE, self._labels, on_real, real, tested, self._resamples, self._rng)
        about = f"{CLASSIFIER}, trained on the images, tested on {on}"
        as_many = "trained on as many real images"
        self._add("downstream_accuracy", learned.accuracy, learned.at_size, as_many, about)
        if learned.ratio is None:
            self.skipped["downstream_ratio"] = "as many real images teach nothing"
        else:
            self._add("downstream_ratio", learned.ratio, 1.0, as_many)
        self._add("downstream_ceiling", learned.ceiling)
