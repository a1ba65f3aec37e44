import pytest

from spti_ray.release.report.build import build_report
from tests.unit.release.report.runs import make_run


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    folder = make_run(tmp_path_factory.mktemp("run"))
    path = build_report(folder)
    return folder, path, path.read_text()
