"""What a run says at its beginning and end: public lines, and where the private ones are."""

from __future__ import annotations

import shlex
from collections.abc import Iterator

from spti_ray.config import Config
from spti_ray.config.method_traits import (
    candidates_are_images,
    stays_inside,
    uses_private_data,
    why_not_certified,
    why_not_private,
)
from spti_ray.dp.gate import Gate
from spti_ray.dp.odometer import OdometerReading
from spti_ray.dp.unnoised import UnnoisedGate
from spti_ray.figures import at_least
from spti_ray.observability.timings import rows
from spti_ray.observability.trace import RoleTotal, Trace
from spti_ray.planning.checks import engines_outside
from spti_ray.planning.hints import hints
from spti_ray.planning.plan import sgd_plan
from spti_ray.public.fallbacks import FallbackCounts
from spti_ray.public.vote_spread import in_words
from spti_ray.runs.folder import RunDir
from spti_ray.runs.votes import spread_in


def opening_lines(
    config: Config, run: RunDir, gate: Gate | UnnoisedGate | None, ledger: str, attempt: int, warning: str = ""
) -> Iterator[str]:
    """What is promised, or that nothing is; and `warning`, about the data."""
    what = "images" if candidates_are_images(config) else "texts"
    if isinstance(gate, Gate):
        noise, unit, both = gate.plan, config.privacy.unit, gate.joint_guarantee()
        delta = f"delta {at_least(noise.delta)} per {unit}"
        held = f"epsilon {at_least(gate.release_epsilon()[1])}, {delta}"
        if both:
            held += (
                f", of the {len(both.runs) + 1} runs together that the release depends on (this one goes on from "
                f"{both.runs[0]}; of its own queries epsilon {at_least(noise.epsilon)})"
            )
        yield (
            f"{config.title}: {held}; "
            f"{noise.generations} generations of {config.evolution.candidates} {what}, sigma {noise.sigma:.3f}"
            + ("; the first asks how many records each label has, and has none" if config.asks_label_shares else "")
        )
        if gate.note:
            yield gate.note
    elif config.rerenders:
        yield (
            f"{config.title}: a re-rendering of run {config.certified_run('')}: {config.release.images} images. "
            "Post-processing: no private data are used and nothing is charged; the certificate is that of the run"
        )
    elif unprotected := why_not_private(config):
        yield f"{config.title}: NOT PRIVATE: {unprotected}. No certificate and no release; recorded in {ledger}"
    elif why_not_certified(config):
        sgd = sgd_plan(config)
        assert sgd is not None
        yield (
            f"{config.title}: NOT CERTIFIED: DP-SGD at epsilon {at_least(sgd.epsilon)}, delta {at_least(sgd.delta)} "
            f"per {config.privacy.unit}; {sgd.steps} steps, noise multiplier {sgd.noise_multiplier:.3f}. No release; "
            f"recorded in {ledger}"
        )
    else:
        yield f"{config.title}: no private data are used; generation 0 of {config.evolution.candidates} {what}"
    if uses_private_data(config):
        yield f"ledger: {ledger}"
    if config.origin and not config.rerenders:
        yield f"goes on from run {config.origin.run} at generation {config.origin.generation}, with a charge of its own"
    for engine in engines_outside(config):
        yield f"private images are sent outside the cluster, to the {engine} (privacy.trusted_endpoints)"
    if warning:
        yield f"warning: {warning}"
    yield from (f"note: {hint}" for hint in hints(config))
    if attempt > 1:
        yield f"going on with the run in {run.path} (attempt {attempt})"


def closing_lines(
    config: Config, run: RunDir, gate: Gate | UnnoisedGate | None, trace: Trace, written: FallbackCounts
) -> Iterator[str]:
    """How long it took, what was spent, and where everything is."""
    yield f"{'stage':<16}{'busy s':>9}{'units':>8}  rate"
    for role, busy, items, rate in rows(trace):
        yield f"{role:<16}{busy:>9}{items:>8}  {rate}"
    for name, seconds in trace.phases_s.items():
        yield f"{name:<16}{seconds:>9.1f}"
    yield from written.lines()
    yield from written.cut_lines()
    writer = trace.totals.get("writer", RoleTotal())
    if trace.tokens_in_all > writer.tokens or trace.dollars_in_all > writer.dollars + 1e-6:
        dollars = f", ${trace.dollars_in_all:.4g}" if trace.dollars_in_all else ""
        yield f"writer, over all attempts: {trace.tokens_in_all} output tokens{dollars}"
    yield f"wall {trace.wall_s:.0f} s, peak memory {trace.peak_memory_bytes / 2**30:.2f} GiB"
    path = shlex.quote(str(run.path))
    if isinstance(gate, Gate):
        spent, both = gate.odometer_reading(), gate.joint_guarantee()
        charged, _ = gate.release_epsilon()
        ours = "" if both is None else f" by the {len(both.runs) + 1} runs that the release depends on"
        yield (
            f"spent epsilon {at_least(charged)} at delta {at_least(gate.plan.delta)}{ours}, "
            f"dataset {spent.dataset} {at_least(spent.lifetime_epsilon)} of {_budget(spent)}; "
            f"see {run.release / 'privacy.json'}"
        )
        if (spread := spread_in(run)) and not spread.is_more_than_noise:
            yield f"WARNING: {in_words(spread)}"
        yield f"prove it: spti verify {path}   audit this build: spti audit {path}"
    if config.rerenders and (run.release / "privacy.json").is_file():
        yield f"prove it: spti verify {path}"
    if uses_private_data(config):
        yield f"records that could not be used, if any: {run.internal / 'ingest.jsonl'} (private)"
    if stays_inside(config):
        why = "NOT PRIVATE" if why_not_private(config) else "NOT CERTIFIED"
        yield f"{why}, for the data's owner alone: {run.release}"
    else:
        yield f"release: {run.release}  report: {run.release / 'report.html'}"


def _budget(spent: OdometerReading) -> str:
    return "no limit" if spent.lifetime_budget is None else f"{spent.lifetime_budget:g}"
