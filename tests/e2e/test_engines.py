"""The embedded checkpoints through the real engine classes; one vLLM engine in a process of its own."""

import io
import json
import os
import subprocess
import sys

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

from spti_ray.config import EngineConfig
from spti_ray.models import batching
from spti_ray.models.bundled import package_file
from spti_ray.models.engine_process import engine_environment
from spti_ray.models.factory import EMBEDDED, build_engine


def bundled(role: str, **changes: object) -> EngineConfig:
    """The bundled checkpoint in float32: most CPUs emulate bfloat16, which takes them ten times as long."""
    return getattr(EMBEDDED, role).model_copy(update={"dtype": "float32", **changes})


@pytest.fixture(scope="module")
def stickers():
    """Every tenth private sample image, and its name."""
    table = pq.read_table(package_file("data/stickers.parquet"), columns=["image", "name"])
    rows = table.take(list(range(0, table.num_rows, 10))).to_pylist()
    images = [np.asarray(Image.open(io.BytesIO(row["image"]["bytes"])).convert("RGB")) for row in rows]
    return images, [row["name"] for row in rows]


@pytest.fixture(scope="module")
def image_embedder():
    return build_engine("image_embedder", EMBEDDED.image_embedder)


@pytest.fixture(scope="module")
def text_embedder():
    return build_engine("text_embedder", EMBEDDED.text_embedder)


@pytest.fixture(scope="module")
def renderer():
    return build_engine("renderer", bundled("renderer", batch_size=4))


def test_image_embeddings_do_not_depend_on_the_batch(image_embedder, stickers):
    images, _ = stickers
    together = image_embedder.embed_images(images[:40])
    alone = np.concatenate([image_embedder.embed_images([image]) for image in images[:4]])
    assert together.shape == (40, 384) and together.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(together, axis=1), 1, rtol=1e-5)
    np.testing.assert_allclose(alone, together[:4], atol=2e-6)
    assert np.array_equal(together, image_embedder.embed_images(images[:40]))


def test_text_embeddings_do_not_depend_on_the_batch(text_embedder, stickers):
    _, names = stickers
    together = text_embedder.embed_texts([*names[:40], "a very long text " * 40, ""])
    alone = np.concatenate([text_embedder.embed_texts([name]) for name in names[:4]])
    assert together.shape == (42, 384) and together.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(together, axis=1), 1, rtol=1e-5)
    np.testing.assert_allclose(alone, together[:4], atol=2e-6)


def test_images_are_near_their_names(image_embedder, text_embedder, stickers):
    images, names = stickers
    similarity = image_embedder.embed_images(images) @ text_embedder.embed_texts(names).T
    top1 = np.mean(similarity.argmax(axis=1) == np.arange(len(names)))
    assert top1 > 10 / len(names)  # ten times chance


def test_embedders_take_nothing(image_embedder, text_embedder):
    assert image_embedder.embed_images([]).shape == (0, 384)
    assert text_embedder.embed_texts([]).shape == (0, 384)


def test_an_image_depends_on_its_text_and_seed_alone(renderer):
    texts, seeds = ["a red apple", "a blue car icon", "a yellow star", "a green tree", "a red house"], [1, 2, 3, 4, 5]
    images = renderer.render(texts, seeds)
    assert [image.shape for image in images] == [(64, 64, 3)] * 5
    assert all(image.dtype == np.uint8 for image in images)
    backwards = renderer.render(texts[::-1], seeds[::-1])[::-1]
    assert all(np.array_equal(a, b) for a, b in zip(images, backwards, strict=True))
    assert np.array_equal(renderer.render(["a red house"], [5])[0], images[4])
    assert not np.array_equal(renderer.render(["a red house"], [6])[0], images[4])


def test_renders_have_the_colour_that_was_asked_for(renderer):
    red, blue = renderer.render(["a red apple", "a blue apple"], [1, 1])
    assert red[..., 0].mean() > red[..., 2].mean() + 10
    assert blue[..., 2].mean() > blue[..., 0].mean() + 10


def test_the_renderer_in_bfloat16_makes_nearly_the_same_image(renderer, monkeypatch):
    """As it is configured, that is, where a CPU has instructions for it."""
    monkeypatch.setattr(batching, "on_cpu", lambda dtype: dtype)
    assert EMBEDDED.renderer.dtype == "bfloat16"
    as_configured = build_engine("renderer", bundled("renderer", batch_size=1, dtype="bfloat16"))
    (image,) = as_configured.render(["a red apple"], [1])
    (close,) = renderer.render(["a red apple"], [1])
    assert 0 < np.abs(image.astype(float) - close).mean() < 5


def test_variations_stay_near_their_image_and_go_further_with_strength(renderer):
    texts, seeds = ["a red apple", "a blue car", "a yellow star", "a green tree", "a red house"], [1, 2, 3, 4, 5]
    origins = renderer.render(texts, seeds)
    near, far = (renderer.vary(origins, texts, [seed + 10 for seed in seeds], strength) for strength in (0.25, 1.0))

    def distance(images):
        pairs = zip(images, origins, strict=True)
        return np.mean([np.abs(image.astype(float) - origin).mean() for image, origin in pairs])

    assert [image.shape for image in near] == [(64, 64, 3)] * 5 and near[0].dtype == np.uint8
    assert 0 < distance(near) < 0.5 * distance(far)
    # Of its image, text and seed alone, whatever else is in the batch; and a step is taken however small the strength.
    alone = renderer.vary(origins[3:4], texts[3:4], [14], 0.25)[0]
    assert np.array_equal(alone, near[3])
    assert not np.array_equal(renderer.vary(origins[3:4], texts[3:4], [14], 0.01)[0], origins[3])


def test_renderer_refuses_an_argument_that_its_pipeline_lacks():
    options = EMBEDDED.renderer.options | {"extra": {"max_sequence_length": 8}}
    with pytest.raises(ValueError, match="StableDiffusionPipeline takes no max_sequence_length"):
        build_engine("renderer", bundled("renderer", options=options))


def test_captions_are_words_and_do_not_depend_on_the_batch(stickers):
    images, _ = stickers
    captioner = build_engine("captioner", bundled("captioner", batch_size=4))
    captions = captioner.caption(images[:6])
    assert all(2 <= len(caption.split()) <= 20 and "[" not in caption for caption in captions)
    assert len(set(captions)) > 2
    assert captioner.caption([images[4]]) == [captions[4]]


def test_engines_say_what_they_are(renderer, image_embedder):
    assert image_embedder.identity()["model"] == "bundled:sticker-clip"
    assert len(image_embedder.identity()["revision"]) == 12
    assert renderer.identity()["text_encoder"].startswith("bundled:minilm@")


VLLM_PROGRAM = """
import asyncio, json, multiprocessing

from spti_ray.models.factory import EMBEDDED, build_engine, public_engine_config
from spti_ray.models.protocols import EngineDead
from spti_ray.types import WriteRequest

FEW_SHOT = "Stickers.\\n" + "".join(f"Thing {i}. Text: a small red thing with number {i}\\n" for i in range(12))


def requests(n=1):
    return [WriteRequest(FEW_SHOT + f"Animal {i}. Text:", n, 100 + i, 12, top_p=0.95) for i in range(6)]


async def main():
    bundled = EMBEDDED.writer.model_copy(update={"dtype": "float32"})
    config = public_engine_config(bundled, takes_turns=True, reports_stats=True)
    writer = build_engine("writer", config, takes_turns=True)
    first = await writer.write(requests(n=3))
    again = await writer.write(requests(n=3)[::-1])
    long = await asyncio.gather(
        *(writer.write([WriteRequest(f"word {i} " * 600 + "and", 2, i, 8, stop=())]) for i in range(4))
    )
    try:
        await writer.write([WriteRequest("word " * 3000, 1, 1, 8)])
        refusal = None
    except RuntimeError as error:
        refusal = f"{type(error).__name__}: {error}"
    await writer.sleep()
    await writer.wake()
    after = await writer.write(requests(n=3))
    total, stats = writer.output_tokens, writer.stats()
    given_up = asyncio.create_task(writer.write([WriteRequest("word and", 2, 5, 400, stop=())]))
    await asyncio.sleep(0.5)
    given_up.cancel()
    await asyncio.wait([given_up])
    await writer.write(requests()[:1])
    unfinished = writer._engine.output_processor.get_num_unfinished_requests()
    writer.close()
    died = []
    writer = build_engine("writer", config, takes_turns=True)
    anew = await writer.write(requests(n=3))
    writer._engine._engine.step = lambda: 1 / 0
    for _ in range(2):
        try:
            await writer.write(requests())
        except EngineDead as error:
            died.append(str(error))
    writer.close()
    answers = [*first, *again, *(answer for batch in long for answer in batch), *after]
    print(json.dumps({
        "first": [a.texts for a in first],
        "again": [a.texts for a in again[::-1]],
        "after": [a.texts for a in after],
        "anew": [a.texts for a in anew],
        "long": [a.texts for batch in long for a in batch],
        "refusal": refusal,
        "tokens": [total, sum(a.num_tokens for a in answers)],
        "identity": writer.identity(),
        "stats": stats,
        "unfinished": unfinished,
        "died": died,
        "children": len(multiprocessing.active_children()),
    }))


if __name__ == "__main__":
    asyncio.run(main())
"""


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_vllm_writer_reproduces_varies_survives_long_prompts_and_says_when_it_is_dead(tmp_path):
    pytest.importorskip("vllm", reason="needs the cpu or gpu extra")
    program = tmp_path / "write.py"
    program.write_text(VLLM_PROGRAM)
    environment = os.environ | engine_environment("writer", EMBEDDED.writer)
    environment["PYTHONPATH"] = os.pathsep.join(sys.path)
    done = subprocess.run(
        [sys.executable, program], env=environment, capture_output=True, text=True, timeout=390, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    said = json.loads(done.stdout.strip().splitlines()[-1])
    # Another order may tip a token where two are equally likely; most texts must not change.
    pairs = [
        (a, b)
        for other in ("again", "after", "anew")
        for xs, ys in zip(said["first"], said[other], strict=True)
        for a, b in zip(xs, ys, strict=True)
    ]
    assert sum(a == b for a, b in pairs) >= 0.8 * len(pairs)
    assert any(len(set(texts)) > 1 for texts in said["first"])
    assert all(text.strip() for texts in said["first"] for text in texts)
    assert len(said["long"]) == 4 and all(len(texts) == 2 for texts in said["long"])
    assert said["refusal"].startswith("RuntimeError: vLLM failed a request: ")
    assert said["tokens"][0] == said["tokens"][1] > 0
    assert said["identity"]["model"] == "bundled:smollm2"
    # And a token for each prefix that was computed alone.
    assert said["tokens"][0] < said["stats"]["generation_tokens"] < said["tokens"][0] + 10
    assert said["stats"]["prompt_tokens"] > said["stats"]["prefix_cache_hits"] > 0
    assert said["stats"]["requests_running"] == said["stats"]["requests_waiting"] == 0
    assert said["unfinished"] == 0, "a request that is given up is taken back"
    assert said["died"] == ["vLLM's engine died"] * 2
    assert said["children"] == 0, "on CPU vLLM has no process of its own"
    assert "Traceback" not in done.stderr


TEMPLATES_PROGRAM = """
import asyncio, json
from types import SimpleNamespace

from spti_ray.config import EngineConfig
from spti_ray.models import vllm_writer
from spti_ray.types import WriteRequest

END = "{% for message in messages %}{{ message.content }}{% endfor %}<|assistant|>"
KNOWS = END + "{% if enable_thinking is not defined or enable_thinking %}<think>{% endif %}"


class Engine:
    # As vLLM's, with the answers below.
    def __init__(self, template):
        from transformers import AutoTokenizer
        from spti_ray.models.bundled import resolve_model
        self.tokenizer = AutoTokenizer.from_pretrained(resolve_model("bundled:smollm2"))
        self.tokenizer.chat_template = template

    def get_tokenizer(self):
        return self.tokenizer

    def shutdown(self, timeout=None):
        pass

    async def generate(self, prompt, sampling, request_id):
        self.prompt = self.tokenizer.decode(prompt["prompt_token_ids"])
        said = [("a red kite", "stop"), ("a red ki", "length"), ("<think>hm</think> a dog", "stop")]
        said.append(("Okay, the user wants", "stop"))
        outputs = [SimpleNamespace(index=i, text=t, finish_reason=r, token_ids=[1, 2]) for i, (t, r) in enumerate(said)]
        yield SimpleNamespace(outputs=outputs)


def writer(template, **options):
    vllm_writer.VllmWriter._started = lambda self, arguments: Engine(template)
    return vllm_writer.VllmWriter(EngineConfig(kind="vllm", model="bundled:smollm2", options=options))


said = {}
for name, template, options in [
    ("always", END + "<think>\\n", {"prompt_format": "chat"}),
    ("asked for", KNOWS, {"prompt_format": "few-shot-chat", "chat_template_kwargs": {"enable_thinking": True}}),
]:
    try:
        writer(template, **options)
    except ValueError as error:
        said[name] = str(error)
asked = [WriteRequest("a thing", 4, 1, 8)]
for name, options in [("plain", {}), ("chat", {"prompt_format": "chat"})]:
    engine = writer(KNOWS, **options)
    (answer,) = asyncio.run(engine.write(asked))
    said[name] = [engine._engine.prompt, answer.texts, answer.truncated, answer.problem, answer.num_tokens]
print(json.dumps(said))
"""


@pytest.mark.slow
def test_a_chat_template_that_begins_the_reasoning_is_refused_or_asked_without_and_what_is_no_text_is_none():
    environment = os.environ | engine_environment("writer", EMBEDDED.writer)
    command = [sys.executable, "-c", TEMPLATES_PROGRAM]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr[-3000:]
    said = json.loads(done.stdout.splitlines()[-1])
    for name in ("always", "asked for"):
        assert "runtime.engines.writer.model: the chat template of bundled:smollm2 begins each answer" in said[name]
    prompt, texts, cut, problem, tokens = said["chat"]
    assert prompt == "a thing<|assistant|>", "asked without thinking"
    assert texts == ["a red kite", "", " a dog", ""] and "finish_reason length" in problem and tokens == 8 and cut == []
    _, texts, cut, problem, _ = said["plain"]
    assert texts[1] == "a red ki" and cut == [False, True, False, False], "whether it is of use is for the population"
