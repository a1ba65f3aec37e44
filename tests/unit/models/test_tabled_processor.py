"""Image processors by a table give what the processors themselves give, to the bit."""

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import BitImageProcessorPil, CLIPImageProcessorPil, Siglip2ImageProcessorPil, SiglipImageProcessorPil

from spti_ray.models.tabled_processor import tabled

SIZE = {"height": 28, "width": 28}


def some_images():
    """Noise, and one smaller than the crop, of one row, and of one colour."""
    random = np.random.default_rng(1)
    shapes = ((256, 256), (40, 61), (9, 12), (1, 70))
    noise = [random.integers(0, 256, (*shape, 3), np.uint8) for shape in shapes]
    return [Image.fromarray(image) for image in (*noise, np.full((30, 30, 3), 255, np.uint8))]


@pytest.mark.parametrize(
    "processor",
    [
        CLIPImageProcessorPil(),
        CLIPImageProcessorPil(size=SIZE, crop_size={"height": 40, "width": 40}),  # a border of zeros
        SiglipImageProcessorPil(size=SIZE),
        BitImageProcessorPil(size={"shortest_edge": 28}, crop_size=SIZE, do_normalize=False),
    ],
)
@pytest.mark.parametrize("tensors", ["pt", "np", None])
def test_a_table_gives_the_same_bits_and_no_sample_is_computed(monkeypatch, processor, tensors):
    expected = [processor([image], return_tensors=tensors)["pixel_values"] for image in some_images()]
    quick = tabled(processor)
    monkeypatch.setattr(type(processor), "rescale", None)
    monkeypatch.setattr(type(processor), "normalize", None)
    for image, pixels in zip(some_images(), expected, strict=True):
        found = quick([image], return_tensors=tensors)["pixel_values"]
        assert type(found) is type(pixels) and found[0].dtype == pixels[0].dtype and found[0].shape == pixels[0].shape
        assert np.asarray(found).tobytes() == np.asarray(pixels).tobytes()
    together = quick(some_images(), return_tensors=tensors)["pixel_values"]
    assert np.asarray(together).tobytes() == b"".join(np.asarray(pixels).tobytes() for pixels in expected)


class ByTheImage:
    """Normalises an image by its own mean: no table can have that."""

    def __call__(self, images, return_tensors, do_rescale=True, do_normalize=True, do_resize=True, do_center_crop=True):
        pixels = np.stack([np.asarray(image).transpose(2, 0, 1) for image in images])
        if do_normalize:
            pixels = (pixels - pixels.mean()).astype(np.float32)
        return {"pixel_values": torch.from_numpy(pixels) if return_tensors == "pt" else pixels}


@pytest.mark.parametrize("processor", [ByTheImage(), Siglip2ImageProcessorPil(patch_size=14), lambda images: images])
def test_a_processor_that_no_table_gives_stays_as_it_is(processor):
    assert tabled(processor) is processor


def test_samples_of_other_kinds_than_bytes_are_computed():
    processor = CLIPImageProcessorPil(size=SIZE, crop_size=SIZE, do_resize=False)
    image = np.random.default_rng(2).random((3, 28, 28)).astype(np.float32) * 255
    expected, found = (one([image], return_tensors="np")["pixel_values"] for one in (processor, tabled(processor)))
    assert (expected == found).all()
