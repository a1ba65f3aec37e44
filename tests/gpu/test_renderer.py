"""The renderer's settings for memory and speed, on a real GPU. Skipped where there is no CUDA."""

from importlib.util import find_spec

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs torch")
pytest.importorskip("diffusers", reason="needs diffusers")

from tests.gpu.engines import SEEDS, TEXTS, built, near  # noqa: E402

pytestmark = [pytest.mark.gpu, pytest.mark.models]


@pytest.fixture
def renderer(cuda, text_encoder):
    """Makes one with these options."""

    def make(batch_size=2, **options):
        return built("renderer", cuda, text_encoder, batch_size=batch_size, options={"steps": 4} | options)

    return make


@pytest.mark.parametrize("offload", ["model", "sequential"])
def test_offloaded_weights_are_on_the_gpu_only_while_they_are_used(offload, renderer):
    plain = renderer().render(TEXTS, SEEDS)
    torch.cuda.empty_cache()
    before = torch.cuda.memory_allocated()
    engine = renderer(offload=offload)
    images = engine.render(TEXTS, SEEDS)
    assert near(images, plain)
    assert torch.cuda.memory_allocated() - before < 8 * 2**20
    engine.sleep()
    engine.wake()
    assert np.array_equal(engine.render(TEXTS, SEEDS), images)
    varied = engine.vary(images, TEXTS, SEEDS, 0.5)
    assert len(varied) == 3 and np.array_equal(engine.render(TEXTS, SEEDS), images)


def test_the_batch_that_fits_is_found_before_there_is_work(renderer):
    assert renderer(batch_size=4, fit_batch=True).config.batch_size == 4
    total = torch.cuda.get_device_properties(0).total_memory
    torch.cuda.empty_cache()
    try:
        # Room for the model, and little else.
        torch.cuda.set_per_process_memory_fraction((torch.cuda.memory_allocated() + 2 * 2**30) / total)
        engine = renderer(batch_size=4096, fit_batch=True)
        fitting = engine.config.batch_size
        assert 1 <= fitting < 4096 and fitting & (fitting - 1) == 0
        assert len(engine.render(TEXTS, SEEDS)) == 3
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)


@pytest.mark.parametrize("backend", ["bitsandbytes_4bit", "bitsandbytes_8bit", "torchao"])
def test_quantised_weights_take_less_room_and_draw_nearly_the_same(backend, renderer):
    if find_spec(backend.partition("_")[0]) is None:
        pytest.skip(f"needs {backend.partition('_')[0]}")
    whole = renderer()
    engine = renderer(quantization={"backend": backend})
    assert near(engine.render(TEXTS, SEEDS), whole.render(TEXTS, SEEDS), most=25.0)
    kinds = {
        type(module.weight).__name__ for module in engine._pipeline.unet.modules() if "Linear" in type(module).__name__
    }
    assert "Parameter" not in kinds


def test_compiled_blocks_and_an_attention_backend_draw_the_same(renderer):
    plain = renderer().render(TEXTS, SEEDS)
    assert near(renderer(compile=True).render(TEXTS, SEEDS), plain)
    assert near(renderer(attention_backend="no-such-backend").render(TEXTS, SEEDS), plain, most=1e-6)


def test_an_image_of_2048_pixels_fits_by_tiles(renderer):
    engine = renderer(batch_size=1, height=2048, width=2048, steps=1, vae_tiling=True)
    assert engine.render(TEXTS[:1], SEEDS[:1])[0].shape == (2048, 2048, 3)
