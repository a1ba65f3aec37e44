"""Runs all audits of the installed build and reports what they found (`spti audit`)."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from spti_ray.audit.canary import MANY_RUNS, ONE_RUN, CanaryResult, run_canary_audit
from spti_ray.audit.sampler import SamplerResult, run_sampler_audit
from spti_ray.dp.build import build
from spti_ray.step_progress import Told, untold

MEANING = "An audit can find a fault. That it finds none does not prove the claim."


@dataclass(frozen=True)
class AuditReport:
    """What the audits found, and for which build. Public, since the audited records are made up."""

    build: str
    """`dp.build.build()`, to be compared with the build that a certificate names."""
    sampler: SamplerResult
    one_run: CanaryResult
    many_runs: CanaryResult

    @property
    def passed(self) -> bool:
        """Whether no audit found a fault."""
        return self.sampler.passed and self.one_run.passed and self.many_runs.passed

    def to_json(self) -> dict[str, Any]:
        """Plain values for `json.dumps`."""
        canaries = {n: {"in_words": r.line(), "passed": r.passed} | asdict(r) for n, r in self._canaries().items()}
        return {"passed": self.passed, "meaning": MEANING, "build": self.build} | {
            "sampler": {"in_words": self.sampler.line()} | asdict(self.sampler),
            **canaries,
        }

    def lines(self) -> list[str]:
        """The results in lines for people."""
        outcome = (
            "No audit found a fault." if self.passed else "FAILED: at least one audit found a fault, or was blind."
        )
        found = [self.sampler.line(), *(result.line() for result in self._canaries().values())]
        return [*found, f"{outcome} {MEANING}", f"audited: {self.build}"]

    def _canaries(self) -> dict[str, CanaryResult]:
        return {"canary_one_run": self.one_run, "canary_many_runs": self.many_runs}


def run_audits(told: Told = untold) -> AuditReport:
    """Run every audit. Takes about half a minute, in memory and a temporary folder.

    Noise and coins come from the operating system, so figures differ from run to run. A correct build fails at most
    twice in a million times; a failure should be investigated, and not just tried again.

    Args:
        told: is told how far it is.
    """
    sampler = run_sampler_audit(told=told)
    one_run = run_canary_audit(ONE_RUN, told=told)
    many_runs = run_canary_audit(MANY_RUNS, told=told)
    return AuditReport(build(), sampler, one_run, many_runs)
