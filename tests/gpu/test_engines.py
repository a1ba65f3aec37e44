"""Engines on a device do what they do on the CPU, but for how the device rounds; and how many items a second.

With DEVICE=cpu both are the CPU: this tries the tests, not the device.
"""

from importlib.util import find_spec

import numpy as np
import pytest

pytest.importorskip("torch", reason="needs torch")
pytest.importorskip("transformers", reason="needs transformers")

from spti_ray.config import EngineConfig
from spti_ray.models.factory import build_engine
from tests.gpu.engines import SEEDS, TEXTS, built, near, per_second, some_images

pytestmark = [pytest.mark.gpu, pytest.mark.models]


@pytest.fixture(scope="module")
def renderers(device, text_encoder):
    """One on the device and one on the CPU, in float32."""
    return tuple(built("renderer", where, text_encoder, batch_size=4, dtype="float32") for where in (device, "cpu"))


def test_a_renderer_draws_what_it_draws_on_the_cpu(renderers):
    here, on_cpu = renderers
    images = here.render(TEXTS, SEEDS)
    assert near(images, on_cpu.render(TEXTS, SEEDS))
    assert not near(images[:1], images[1:2]), "different texts and seeds"


def test_a_renderer_varies_an_image_as_it_does_on_the_cpu(renderers):
    here, on_cpu = renderers
    images = some_images(3)
    varied = here.vary(images, TEXTS, SEEDS, 0.5)
    assert near(varied, on_cpu.vary(images, TEXTS, SEEDS, 0.5)) and not near(varied, images)


def test_images_a_second(device, text_encoder, figures, measured_s):
    # On a CPU a batch of 64 is a minute.
    count = 64 if device == "cuda" else 2
    engine = built("renderer", device, text_encoder, batch_size=count, dtype="bfloat16", options={"steps": 8})
    texts, seeds, images = TEXTS[:1] * count, list(range(count)), some_images(count)
    figures["images_per_s"] = per_second(lambda: engine.render(texts, seeds), count, measured_s)
    figures["varied_images_per_s"] = per_second(lambda: engine.vary(images, texts, seeds, 0.5), count, measured_s)
    assert min(figures.values()) > 0


def test_an_image_embedder_embeds_as_on_the_cpu(device, figures, measured_s):
    here, on_cpu = (built("image_embedder", where, batch_size=32) for where in (device, "cpu"))
    images = some_images(32)
    rows, expected = here.embed_images(images), on_cpu.embed_images(images)
    assert (rows * expected).sum(axis=1).min() > 0.9999
    figures["embeddings_per_s"] = per_second(lambda: here.embed_images(images), 32, measured_s)


def test_a_text_embedder_embeds_as_on_the_cpu(device, figures, measured_s):
    here, on_cpu = (built("text_embedder", where) for where in (device, "cpu"))
    rows, expected = here.embed_texts(TEXTS), on_cpu.embed_texts(TEXTS)
    assert (rows * expected).sum(axis=1).min() > 0.9999
    figures["text_embeddings_per_s"] = per_second(lambda: here.embed_texts(TEXTS * 32), 96, measured_s)


def test_a_captioner_says_what_it_says_on_the_cpu(device, figures, measured_s):
    here, on_cpu = (built("captioner", where, batch_size=16) for where in (device, "cpu"))
    images = some_images(16)
    captions = here.caption(images)
    assert all(captions) and np.mean([a == b for a, b in zip(captions, on_cpu.caption(images), strict=True)]) >= 0.75
    figures["captions_per_s"] = per_second(lambda: here.caption(images), 16, measured_s)


def test_a_chat_model_that_sees_says_what_it_says_on_the_cpu(device, tmp_path):
    """Of random weights, made on the spot."""
    if find_spec("tokenizers") is None:
        pytest.skip("needs tokenizers")
    from tests.tiny_models import save_idefics3

    save_idefics3(tmp_path)
    here, on_cpu = (
        build_engine(
            "captioner",
            EngineConfig(
                kind="chat-vision",
                model=str(tmp_path),
                batch_size=2,
                dtype="float32",
                num_gpus=1.0 if where == "cuda" else 0.0,
                options={"max_tokens": 6, "prompt": "Describe this image."},
            ),
        )
        for where in (device, "cpu")
    )
    images = some_images(4)
    assert np.mean([a == b for a, b in zip(here.caption(images), on_cpu.caption(images), strict=True)]) >= 0.75
