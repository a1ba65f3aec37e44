"""Chat models that see: SmolVLM's architecture with random weights, and what its kin can't do without torchvision."""

from importlib.util import find_spec

import numpy as np
import pytest
from PIL import Image
from transformers import AutoModelForImageTextToText, AutoProcessor

from spti_ray.config import EngineConfig
from spti_ray.models.bundled import ModelMissing
from spti_ray.models.checkpoints import explain_missing_package
from spti_ray.models.factory import build_engine, engines_config
from tests.tiny_models import save_idefics3

SIZES = [(20, 30), (64, 64), (40, 100), (30, 20), (90, 36)]


def some_images():
    rng = np.random.default_rng(0)
    return [rng.integers(0, 256, (*size, 3), dtype=np.uint8) for size in SIZES]


@pytest.fixture(scope="module")
def idefics(tmp_path_factory):
    folder = tmp_path_factory.mktemp("idefics")
    save_idefics3(folder)
    return folder


def captioner(folder, **options):
    options = {"max_tokens": 6, "prompt": "Describe this image."} | options
    return build_engine("captioner", EngineConfig(kind="chat-vision", model=str(folder), batch_size=2, options=options))


def test_a_caption_is_what_the_model_says_of_the_image_alone(idefics):
    model, processor = (
        AutoModelForImageTextToText.from_pretrained(idefics).eval(),
        AutoProcessor.from_pretrained(idefics),
    )
    turns = [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "Describe this image."}]}]
    prompt = processor.apply_chat_template(turns, add_generation_prompt=True)
    alone = []
    for image in some_images():
        inputs = processor(text=[prompt], images=[Image.fromarray(image)], return_tensors="pt")
        tokens = model.generate(**inputs, max_new_tokens=6, do_sample=False)[:, inputs["input_ids"].shape[1] :]
        alone.append(" ".join(processor.batch_decode(tokens, skip_special_tokens=True)[0].split()))
    assert len(set(alone)) > 2, "else nothing is tested"
    engine = captioner(idefics)
    assert engine.caption(some_images()) == alone
    assert engine.caption(some_images()[::-1]) == alone[::-1]
    assert engine.caption([]) == []


def test_arguments_of_the_processor_reach_it(idefics):
    whole = captioner(idefics, processor={"do_image_splitting": False})
    assert whole._inputs(some_images()[1])["pixel_values"].shape[:2] == (1, 1)
    assert captioner(idefics)._inputs(some_images()[1])["pixel_values"].shape[:2] == (1, 5)
    # Cut to 16 pixels, the image is still brought to the model's own size.
    assert captioner(idefics, max_side=16).caption(some_images()) != captioner(idefics).caption(some_images())


@pytest.mark.skipif(find_spec("torchvision") is not None, reason="torchvision is there")
def test_a_processor_that_needs_torchvision_is_refused_with_the_way_around(tmp_path):
    """As Qwen-VL's, which is also for videos."""
    save_idefics3(tmp_path)
    (tmp_path / "processor_config.json").write_text('{"processor_class": "Qwen2VLProcessor"}')
    (tmp_path / "preprocessor_config.json").write_text('{"image_processor_type": "Qwen2VLImageProcessor"}')
    (tmp_path / "video_preprocessor_config.json").write_text('{"video_processor_type": "Qwen2VLVideoProcessor"}')
    with pytest.raises(ModelMissing, match=r"pip install torch==\S+ torchvision") as caught:
        captioner(tmp_path)
    assert "\n" not in str(caught.value)


@pytest.mark.skipif(find_spec("torchvision") is not None, reason="torchvision is there")
@pytest.mark.parametrize(
    ("error", "words"),
    [
        (ValueError("Model architectures ['Qwen2VL'] failed to be inspected. Please check the logs"), "torchvision"),
        (ImportError("Package `num2words` is required\nto run SmolVLM processor."), "num2words"),
    ],
)
def test_what_is_not_installed_is_told_in_one_line(error, words):
    def load():
        raise error

    with pytest.raises(ModelMissing, match=words) as caught:
        explain_missing_package("some/model", load)
    assert "\n" not in str(caught.value)
    with pytest.raises(ValueError, match="bad file"):
        explain_missing_package("some/model", lambda: int("bad file"))


def template_of(folder, ending):
    """The model in that folder with another end of its prompts."""
    save_idefics3(folder)
    template = AutoProcessor.from_pretrained(folder).chat_template
    (folder / "chat_template.json").unlink(missing_ok=True)
    (folder / "chat_template.jinja").write_text(template + ending)
    return folder


def test_a_prompt_that_begins_the_reasoning_is_refused_or_asked_without(tmp_path):
    with pytest.raises(ValueError, match=r"engines\.captioner\.model: .* begins each answer with reasoning") as caught:
        captioner(template_of(tmp_path / "always", "<think>\n"))
    assert "\n" not in str(caught.value)
    ending = "{% if enable_thinking is not defined or enable_thinking %}<think>\n{% endif %}"
    knows = template_of(tmp_path / "knows", ending)
    assert captioner(knows)._prompt.count("<think>") == 0
    with pytest.raises(ValueError, match="begins each answer"):
        captioner(knows, chat_template_kwargs={"enable_thinking": True})


def test_a_refusal_or_reasoning_is_no_caption(idefics, monkeypatch):
    engine = captioner(idefics)
    said = ["I'm sorry, but I can't help", "<think>a dog", "Okay, the user wants", "a sorry-looking\n dog"]
    decode = lambda self, tokens, **more: [said.pop(0) for _ in tokens]  # noqa: E731
    monkeypatch.setattr(type(engine._processor), "batch_decode", decode, raising=False)
    assert engine.caption([some_images()[1]] * 4) == ["", "", "", "a sorry-looking dog"]


def test_its_options_are_checked_when_the_configuration_is_read():
    with pytest.raises(ValueError, match=r"runtime\.engines\.captioner\.options\.beams"):
        engines_config({"captioner": {"kind": "chat-vision", "model": "a/b", "options": {"beams": 3}}})
