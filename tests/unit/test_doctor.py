import importlib.metadata
import sys

from spti_ray import doctor


def test_a_torchvision_that_does_not_import_is_to_be_removed(tmp_path, monkeypatch):
    assert doctor._torchvision()[:2] == ("torchvision", True)
    package = tmp_path / "torchvision"
    package.mkdir()
    (package / "__init__.py").write_text("raise RuntimeError('operator torchvision::nms does not exist')\n")
    metadata = tmp_path / "torchvision-0.28.0.dist-info" / "METADATA"
    metadata.parent.mkdir()
    metadata.write_text("Metadata-Version: 2.1\nName: torchvision\nVersion: 0.28.0\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    assert importlib.metadata.version("torchvision") == "0.28.0"
    name, well, detail = doctor._torchvision()
    assert (name, well) == ("torchvision", False)
    assert detail.startswith("0.28.0 does not fit this torch") and "pip uninstall torchvision" in detail
    assert "torchvision" not in sys.modules
