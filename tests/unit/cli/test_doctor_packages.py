import pytest

from spti_ray.cli import doctor_packages
from spti_ray.cli.doctor_packages import Misfit, misfits


@pytest.fixture
def install(tmp_path, monkeypatch):
    """Adds a distribution, as its metadata, to what is installed here."""
    monkeypatch.syspath_prepend(str(tmp_path))

    def add(name: str, release: str, *requires: str) -> None:
        folder = tmp_path / f"{name.replace('-', '_')}-{release}.dist-info"
        folder.mkdir()
        lines = [f"Metadata-Version: 2.1\nName: {name}\nVersion: {release}", *(f"Requires-Dist: {r}" for r in requires)]
        (folder / "METADATA").write_text("\n".join(lines) + "\n", encoding="utf-8")

    return add


def test_what_is_installed_here_fits():
    assert misfits() == []


@pytest.fixture
def no_backend(monkeypatch):
    monkeypatch.setattr(doctor_packages, "vllm_distributions", dict)


def test_versions_that_do_not_fit_are_found_however_deep_and_what_is_missing_too(install, no_backend):
    install("our-root", "1.0", "our-Part>=2", "no-such-package<3")
    install("our-part", "2.1", "our-deep==1.5", "our-root")  # a circle, as some packages make
    install("our-deep", "1.6")
    assert misfits("our-root") == [
        Misfit("no-such-package", None, "no-such-package<3", "our-root"),
        Misfit("our-deep", "1.6", "our-deep==1.5", "our-part"),
    ]
    told = [str(misfit) for misfit in misfits("our-root")]
    assert told == [
        "no-such-package is missing, our-root needs no-such-package<3",
        "our-deep 1.6 is here, our-part needs our-deep==1.5",
    ]


def test_markers_and_extras_say_what_is_needed_here(install, no_backend):
    elsewhere = "no-such-package ; sys_platform == 'win32'"
    unasked = "no-such-package ; extra == 'more'"
    install("our-root", "1.0", elsewhere, unasked, "our-part[fast]")
    install("our-part", "1.0", "our-deep>=2 ; extra == 'fast'")
    install("our-deep", "2.0rc1")
    assert misfits("our-root") == [Misfit("our-deep", "2.0rc1", "our-deep>=2", "our-part[fast]")]


def test_what_is_left_out_on_purpose_is_not_missed(install):
    install("our-root", "1.0", "TorchVision>=0.1", "llama_cpp_python")
    assert doctor_packages.installed_version("torchvision") is None
    assert misfits("our-root") == []


def test_the_cpu_build_of_torch_does_not_fit_the_gpu_extra(install, monkeypatch):
    monkeypatch.setattr(doctor_packages, "vllm_distributions", lambda: {"vllm": "0.32.0"})
    install("our-root", "1.0", "our-torch>=2.13", "our-torch!=2.13.0+cpu ; extra == 'gpu'")
    install("our-torch", "2.13.0+cpu")
    (found,) = misfits("our-root")
    assert str(found) == "our-torch 2.13.0+cpu is here, our-root[gpu] needs our-torch!=2.13.0+cpu"
