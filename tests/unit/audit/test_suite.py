import json
from dataclasses import replace

from spti_ray.audit.canary import ONE_RUN, CanaryResult
from spti_ray.audit.sampler import SamplerResult
from spti_ray.audit.suite import AuditReport

SAMPLER = SamplerResult("opendp", (0.5, 3.742), 1_000, 0.3, "fit at sigma 0.5", 1e-6, True, 1.0)
CANARY = CanaryResult(
    ONE_RUN, "opendp", 50_000, 2_000, 1_312, 1_316.0, 0.187, 0.268, 1.0, 1e-5, refuted=False, blind=False, seconds=2.0
)
REPORT = AuditReport("spti-ray 0.1.0, opendp 0.16", SAMPLER, CANARY, CANARY)


def test_a_report_is_plain_json_with_every_figure():
    plain = json.loads(json.dumps(REPORT.to_json()))
    assert plain["passed"] is True and plain["build"] == "spti-ray 0.1.0, opendp 0.16"
    assert plain["canary_one_run"]["mu_lower_bound"] == 0.187 and plain["canary_one_run"]["passed"] is True
    assert plain["sampler"]["p_value"] == 0.3


def test_its_lines_name_confidence_and_claim_and_promise_no_proof():
    text = "\n".join(REPORT.lines())
    assert "mu >= 0.187 at 95 % confidence, claimed 0.268: consistent" in text
    assert "does not prove" in text and "opendp 0.16" in text


def test_one_failed_audit_fails_the_report():
    failures = [
        replace(REPORT, sampler=replace(SAMPLER, passed=False)),
        replace(REPORT, one_run=replace(CANARY, refuted=True)),
        replace(REPORT, many_runs=replace(CANARY, blind=True)),
    ]
    for report in failures:
        assert not report.passed and report.to_json()["passed"] is False
        assert "FAILED" in "\n".join(report.lines())
