"""One run of all audits, with its results shared by the tests that read them."""

import pytest

from spti_ray.audit.suite import AuditReport, run_audits


@pytest.fixture(scope="session")
def report() -> AuditReport:
    return run_audits()
