"""`spti verify` of a measurement: its figure is that of the noised counts that its certificate is about."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from spti_ray.config.measure import parse_task
from spti_ray.dp import artifact
from spti_ray.dp.calibration import calibrate
from spti_ray.dp.certificate import certificate
from spti_ray.dp.gate import Gate
from spti_ray.dp.ledger import Ledger
from spti_ray.dp.mechanism import OpenDPNoise
from spti_ray.dp.storage import open_chain
from spti_ray.probe import Probe
from spti_ray.public.figure import figure
from spti_ray.release.verify import verify_release
from spti_ray.release.verify_alone import verify_alone
from spti_ray.runs.measures import figure_section, save_probe
from spti_ray.votes import Query, Votes

PROBE = Probe.rounded(np.eye(2), np.zeros(2), np.eye(2, dtype=np.bool_), ("a", "b"))
TASK = {"task": "label_accuracy", "epsilon": 1.0}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A ledger with a run and a measurement of it, and the folder of that."""
    root = tmp_path_factory.mktemp("measurement")
    ledger, folder = Ledger(root / "ledger", "toys"), root / "m"
    ledger.register(20.0, 1e-5)
    for run, origin, epsilon, ids, sha256, where in (
        ("run-1", "", 2.0, ("g00-0", "g00-1"), "ab" * 32, root / "generations"),
        ("m-1", "run-1", 1.0, PROBE.cells, PROBE.sha256(), folder / "generations"),
    ):
        where.parent.mkdir(exist_ok=True)
        plan = calibrate(epsilon, 1e-5, 1, 1)
        gate = Gate(ledger, plan, run, where, OpenDPNoise(), "c0ffee", origin=origin)
        gate.open()
        reservation = gate.reserve(0, sha256, ids)
        histogram = gate.measure(reservation, [Votes(Query(run, 0, sha256), 0, np.array([30, 4]), 34)], 1)
    save_probe(folder, PROBE, {"images": 2})
    text = json.dumps(figure(parse_task(TASK), histogram, "record", {"run": "m-1", "of": "run-1"}), indent=2)
    (folder / "figure.json").write_text(text)
    document = certificate(ledger.entries(), "m-1")
    assert document is not None
    (folder / "privacy.json").write_text(json.dumps(document | {"release": figure_section(text.encode())}))
    return root


def failed(root: Path) -> list[str]:
    """The fields that do not hold, with the ledger and without it."""
    checks = list(verify_release(root / "m", open_chain(root / "ledger", "toys")))
    alone = {check.field for check in verify_alone(root / "m") if not check.holds}
    found = [check.field for check in checks if not check.holds]
    assert alone <= set(found)
    return found


def edited(name: str, change: Callable[[dict], None], signed: bool = False) -> Callable[[Path], None]:
    """`signed`: the certificate has the new hash, as whoever publishes another figure would see to."""

    def edit(folder: Path) -> None:
        document = json.loads((folder / name).read_text())
        change(document)
        (folder / name).write_text(json.dumps(document))
        if signed:
            proof = json.loads((folder / "privacy.json").read_text())
            proof["release"] = figure_section((folder / name).read_bytes())
            (folder / "privacy.json").write_text(json.dumps(proof))

    return edit


def forged_counts(folder: Path) -> None:
    """Other counts with a figure of their own beside the committed ones."""
    label, _ = artifact.read(next((folder / "generations" / "00").iterdir()))
    path = artifact.write(folder / "generations", label, PROBE.cells, np.array([34, 0]))
    text = json.dumps(figure(parse_task(TASK), artifact.read(path)[1], "record", {"run": "m-1", "of": "run-1"}))
    edited("figure.json", lambda answer: (answer.clear(), answer.update(json.loads(text))), signed=True)(folder)


def other_probe(folder: Path) -> None:
    save_probe(folder, Probe.rounded(np.eye(2), np.ones(2), np.eye(2, dtype=np.bool_), ("a", "b")), {})


def test_a_measurement_holds_with_its_ledger_and_without(made):
    assert failed(made) == []
    fields = [check.field for check in verify_release(made / "m", open_chain(made / "ledger", "toys"))]
    assert {"figure", "probe", "release.figure_sha256", "origin.epsilon_together", "histogram of generation 0"} <= {
        *fields
    }
    assert [check.field for check in verify_alone(made / "m") if check.open] == ["ledger"]


@pytest.mark.parametrize(
    ("alter", "field"),
    [
        (edited("figure.json", lambda answer: answer.update(right=31)), "release.figure_sha256"),
        (edited("figure.json", lambda answer: answer.update(right=99), signed=True), "figure"),
        (edited("figure.json", lambda answer: answer.update(ratio=0.99), signed=True), "figure"),
        (edited("figure.json", lambda answer: answer.update(of_these=[0.9, 0.91]), signed=True), "figure"),
        (edited("figure.json", lambda answer: answer["task"].update(confidence=0.6), signed=True), "figure"),
        (edited("figure.json", lambda answer: answer["facts"].update(run="m-2"), signed=True), "figure"),
        (edited("figure.json", lambda answer: answer.update(task=3), signed=True), "figure"),
        (edited("figure.json", lambda answer: answer.pop("facts"), signed=True), "figure"),
        (edited("figure.json", lambda answer: answer.update(counts_sha256="../../x"), signed=True), "figure"),
        (forged_counts, "figure's counts"),
        (other_probe, "probe"),
        (lambda folder: (folder / "probe.safetensors").write_bytes(b"no"), "probe"),
        (lambda folder: (folder / "figure.json").unlink(), "release.figure_sha256"),
        (edited("privacy.json", lambda proof: proof.update(epsilon=1.0)), "epsilon"),
        (edited("privacy.json", lambda proof: proof["release"].update(images=3)), "release.figure_sha256"),
    ],
)
def test_an_altered_figure_probe_or_certificate_is_noticed(made, tmp_path, alter, field):
    copy = shutil.copytree(made, tmp_path / "copy")
    alter(copy / "m")
    assert field in failed(copy)


def test_what_was_not_published_beside_the_figure_is_left_open(made, tmp_path):
    copy = shutil.copytree(made / "m", tmp_path / "m")
    shutil.rmtree(copy / "generations")
    (copy / "probe.safetensors").unlink()
    checks = list(verify_alone(copy))
    assert all(check.holds for check in checks)
    assert [check.field for check in checks if check.open] == ["figure", "probe", "ledger"]
