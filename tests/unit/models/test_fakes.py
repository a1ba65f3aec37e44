"""The fake engines: deterministic, and a world in which an evolution can drift."""

import asyncio

import numpy as np
import pytest

from spti_ray.models.factory import FAKE, build_engine
from spti_ray.models.fakes import COLOURS, GROUP_OF
from spti_ray.types import WriteRequest

RANDOM = (
    "Short descriptions of stickers.\n\nSubject: animals. Text (3 words): a red cat\nSubject: food. Text (3 words):"
)
REPHRASE = "Change it.\n\nText: a red cat\nNew (3 words): a red dog\n\nText: a blue car\nNew (3 words):"
FILL = "Fill in.\n\nBlanks: a _ cat\nFilled (3 words): a red cat\n\nBlanks: a _ car\nFilled (3 words):"


def write(prompt: str, n: int = 1, seed: int = 1) -> tuple[str, ...]:
    request = WriteRequest(prompt, n=n, seed=seed, max_tokens=16)
    (answer,) = asyncio.run(build_engine("writer", FAKE.writer).write([request]))
    assert answer.num_tokens == sum(len(text.split()) for text in answer.texts)
    return answer.texts


def render(text: str, seed: int = 0) -> np.ndarray:
    return build_engine("renderer", FAKE.renderer).render([text], [seed])[0]


def embed_images(*images: np.ndarray) -> np.ndarray:
    return build_engine("image_embedder", FAKE.image_embedder).embed_images(images)


def test_writer_repeats_itself_for_equal_seeds_only():
    assert write(RANDOM, n=8, seed=5) == write(RANDOM, n=8, seed=5)
    assert write(RANDOM, n=8, seed=5) != write(RANDOM, n=8, seed=6)
    assert len(set(write(RANDOM, n=8))) > 1


def test_writer_takes_up_the_attributes_of_the_last_line():
    nouns = [text.split()[-1].strip('".') for text in write(RANDOM, n=20) if text.strip()]
    assert all(GROUP_OF[noun] == "food" for noun in nouns)


def test_variations_change_the_target_and_not_the_examples():
    texts = [text for text in write(REPHRASE, n=50) if text.strip()]
    assert all("blue" in text or "car" in text for text in texts)
    assert len(set(texts)) > 5
    filled = [text for text in write(FILL, n=50) if text.strip()]
    assert all("car" in text and "_" not in text for text in filled)


def test_some_answers_are_imperfect():
    texts = write(RANDOM, n=400)
    assert 5 < sum(not text.strip() or ":" in text or '"' in text for text in texts) < 80


def test_output_tokens_add_up():
    writer = build_engine("writer", FAKE.writer)
    requests = [WriteRequest(RANDOM, n=2, seed=seed, max_tokens=16) for seed in range(3)]
    answers = asyncio.run(writer.write(requests))
    assert writer.output_tokens == sum(answer.num_tokens for answer in answers) > 0


def test_renderer_draws_text_and_seed():
    image = render("a red cat", 3)
    assert image.shape == (64, 64, 3) and image.dtype == np.uint8
    assert np.array_equal(image, render("a red cat", 3))
    assert not np.array_equal(image, render("a blue cat", 3))
    assert len({render("a red cat", seed).tobytes() for seed in range(10)}) > 1


def test_similar_texts_have_similar_images_and_embeddings():
    cat, variant, other = embed_images(render("a red cat", 1), render("a red cat", 2), render("a blue train", 1))
    assert cat @ variant > cat @ other + 0.05
    cat, dog, train = build_engine("text_embedder", FAKE.text_embedder).embed_texts(
        ["a red cat", "a red dog", "blue train"]
    )
    assert cat @ dog > cat @ train + 0.2


def test_embeddings_are_unit_float32_rows_even_of_nothing():
    images = [np.full((10, 20, 3), 255, np.uint8), render("a red cat")]
    for rows in (embed_images(*images), build_engine("text_embedder", FAKE.text_embedder).embed_texts(["", "a cat"])):
        assert rows.dtype == np.float32
        np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1, rtol=1e-5)
    assert embed_images().shape == (0, 64)


def test_captioner_names_the_colour():
    captions = build_engine("captioner", FAKE.captioner).caption([render(f"a {colour} cat") for colour in COLOURS])
    assert [caption.split()[1] for caption in captions] == list(COLOURS)


def test_renderer_wants_a_seed_per_text():
    with pytest.raises(ValueError, match="2 texts but 1 seeds"):
        build_engine("renderer", FAKE.renderer).render(["a", "b"], [1])


def test_the_renderer_varies_an_image_the_further_the_stronger():
    renderer = build_engine("renderer", FAKE.renderer)
    origin = render("a red car")

    def distance(strength: float) -> float:
        varied = renderer.vary([origin], ["a red car"], [3], strength)[0]
        assert varied.shape == origin.shape and varied.dtype == np.uint8
        return float(np.abs(varied.astype(float) - origin).mean())

    assert 0 < distance(0.2) < distance(0.6) < distance(1.0)
    one, other = renderer.vary([origin, origin], ["a red car", "a red car"], [3, 4], 0.5)
    assert (one != other).any()
    assert (one == renderer.vary([origin], ["a red car"], [3], 0.5)[0]).all()
