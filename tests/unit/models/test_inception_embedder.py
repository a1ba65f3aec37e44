"""The Inception engine on a small TorchScript network of the same layout: the real file is not here."""

import hashlib

import numpy as np
import pytest
import torch
from PIL import Image

from spti_ray.config import EngineConfig
from spti_ray.models.bundled import ModelMissing
from spti_ray.models.factory import build_engine, engines_config
from spti_ray.models.inception_embedder import FILE


class Network(torch.nn.Module):
    """`layers` gives the mean colour of the four corners and of the whole, in place of 2,048 features."""

    def __init__(self):
        super().__init__()
        self.layers = torch.nn.Sequential(torch.nn.AdaptiveAvgPool2d(2), torch.nn.Flatten(), torch.nn.Linear(12, 16))

    def forward(self, x):
        return self.layers(x)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("inception")
    torch.manual_seed(0)
    torch.jit.script(Network()).save(str(folder / FILE))
    return folder


def embedder(folder, **options):
    config = EngineConfig(kind="inception", model=str(folder), batch_size=2, options={"sha256": None} | options)
    return build_engine("image_embedder", config)


def some_images():
    rng = np.random.default_rng(0)
    return [rng.integers(0, 256, (*size, 3), dtype=np.uint8) for size in ((40, 60), (300, 300), (64, 64))]


def test_rows_are_of_length_1_and_do_not_depend_on_the_batch(folder):
    engine, images = embedder(folder), some_images()
    rows_BE = engine.embed_images(images)
    assert rows_BE.shape == (3, 16) and rows_BE.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(rows_BE, axis=1), 1, rtol=1e-5)
    np.testing.assert_array_equal(rows_BE[2:], engine.embed_images(images[2:]))
    assert engine.embed_images([]).shape == (0, 2048)


def test_the_network_sees_the_resized_image_on_the_scale_it_was_trained_with(folder):
    image = np.full((50, 50, 3), 192, np.uint8)
    seen = torch.full((1, 3, 299, 299), 0.5)
    expected = torch.nn.functional.normalize(torch.jit.load(str(folder / FILE)).layers(seen)).detach().numpy()
    np.testing.assert_allclose(embedder(folder).embed_images([image]), expected, rtol=1e-5)


def test_with_pixels_a_wide_image_is_cut_to_its_middle_first(folder):
    wide = np.zeros((32, 96, 3), np.uint8)
    wide[:, 32:64] = np.asarray(Image.linear_gradient("L").resize((32, 32)))[:, :, None]
    middle = np.ascontiguousarray(wide[:, 32:64])
    cut, whole = embedder(folder, pixels=32), embedder(folder)
    np.testing.assert_array_equal(cut.embed_images([wide]), cut.embed_images([middle]))
    assert not np.allclose(whole.embed_images([wide]), whole.embed_images([middle]))


def test_the_identity_is_of_the_file(folder):
    digest = hashlib.sha256((folder / FILE).read_bytes()).hexdigest()
    assert embedder(folder, sha256=digest).identity() == {"kind": "inception", "model": FILE, "revision": digest[:12]}


def test_another_network_than_that_of_the_distance_is_refused(folder):
    config = EngineConfig(kind="inception", model=str(folder / FILE))
    with pytest.raises(ModelMissing, match="is not the Inception of the Fréchet distance"):
        build_engine("image_embedder", config)


def test_a_file_that_is_not_there_is_said_with_what_to_download(tmp_path):
    with pytest.raises(ModelMissing, match=r"download inception-2015-12-05\.pt"):
        build_engine("image_embedder", EngineConfig(kind="inception", model=str(tmp_path / "x.pt")))


def test_its_options_are_checked_when_the_configuration_is_read():
    with pytest.raises(ValueError, match=r"runtime\.engines\.image_embedder\.options\.layer"):
        engines_config({"image_embedder": {"kind": "inception", "model": "x.pt", "options": {"layer": 3}}})
