"""What planning knows of a pipeline without importing diffusers, held to what the imported classes say."""

import inspect
import json
import subprocess
import sys

import diffusers
import pytest
from diffusers.pipelines import auto_pipeline

from spti_ray.config import EngineConfig
from spti_ray.models.pipeline_classes import (
    call_parameters,
    check_pipeline,
    image_to_image_class,
    pipeline_class,
    text_to_image_class,
)

TEXT = auto_pipeline.AUTO_TEXT2IMAGE_PIPELINES_MAPPING
IMAGE = auto_pipeline.AUTO_IMAGE2IMAGE_PIPELINES_MAPPING
LISTED = sorted({pipeline.__name__ for pipeline in (*TEXT.values(), *IMAGE.values())})


def saved(folder, name):
    folder.mkdir(exist_ok=True)
    (folder / "model_index.json").write_text(json.dumps({"_class_name": name}))
    return str(folder)


def renderer(model, **options):
    return EngineConfig(kind="diffusers", model=model, options=options)


@pytest.mark.parametrize("name", LISTED)
def test_the_source_says_of_each_pipeline_what_the_imported_class_does(name):
    taken = set(inspect.signature(getattr(diffusers, name).__call__).parameters) - {"self"}
    assert call_parameters(name) == taken - {"kwargs"}
    found = auto_pipeline._get_task_class(TEXT, name, False)
    assert text_to_image_class(name) == (found.__name__ if found else None)
    if found := auto_pipeline._get_task_class(IMAGE, name, False):
        assert image_to_image_class(name) == found.__name__


@pytest.mark.parametrize(
    ("name", "varying"),
    [("SanaSprintPipeline", "SanaSprintImg2ImgPipeline"), ("ChromaPipeline", "ChromaImg2ImgPipeline"), ("X", None)],
)
def test_an_image_to_image_form_that_auto_pipeline_does_not_list_is_found_by_its_name(name, varying):
    assert image_to_image_class(name) == varying
    assert varying is None or hasattr(diffusers, varying)


@pytest.mark.parametrize(
    "name",
    ["Flux2KleinPipeline", "FluxKontextPipeline", "SanaPipeline", "HiDreamImagePipeline", "HunyuanImagePipeline"],
)
def test_a_pipeline_that_can_not_vary_an_image_by_a_strength_is_refused_without_loading_it(tmp_path, name):
    config = renderer(saved(tmp_path, name))
    check_pipeline(config, varies=False)
    with pytest.raises(ValueError, match=rf"^runtime\.engines\.renderer\.model: is a {name}, .*pe-image") as caught:
        check_pipeline(config, varies=True)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "name",
    ["StableDiffusionXLPipeline", "FluxPipeline", "ZImagePipeline", "ChromaPipeline", "KolorsPipeline"],
)
def test_a_pipeline_that_varies_by_a_strength_is_taken(tmp_path, name):
    check_pipeline(renderer(saved(tmp_path, name)), varies=True)


def test_an_argument_that_the_pipeline_does_not_take_is_refused_without_loading_it(tmp_path):
    folder = saved(tmp_path, "FluxPipeline")
    check_pipeline(renderer(folder, steps=4, extra={"max_sequence_length": 256}), varies=False)
    with pytest.raises(ValueError, match=r"^runtime\.engines\.renderer\.options: FluxPipeline takes no clip_skip, gui"):
        check_pipeline(renderer(folder, guidance_rescale=0.7, extra={"clip_skip": 1}), varies=False)
    folder = saved(tmp_path, "HiDreamImagePipeline")  # whose call takes **kwargs, and does nothing with them
    with pytest.raises(ValueError, match=r"options: HiDreamImagePipeline takes no guidance_rescale$"):
        check_pipeline(renderer(folder, guidance_rescale=0.7), varies=False)


def test_the_class_of_a_model_on_the_hub_is_read_from_its_cache(tmp_path, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    repository = tmp_path / "models--someone--model"
    (repository / "refs").mkdir(parents=True)
    (repository / "refs" / "main").write_text("abc")
    (repository / "snapshots").mkdir()
    saved(repository / "snapshots" / "abc", "SanaPipeline")
    assert pipeline_class(renderer("someone/model")) == "SanaPipeline"
    assert pipeline_class(renderer("someone/other")) is None
    assert pipeline_class(renderer("black-forest-labs/FLUX.2-klein-4B")) == "Flux2KleinPipeline"
    assert pipeline_class(renderer("bundled:sticker-sd")) == "StableDiffusionPipeline"


@pytest.mark.parametrize("index", ["{", "[]", '{"_class_name": ["code", "MyPipeline"]}', '{"_class_name": "Unheard"}'])
def test_of_a_pipeline_that_is_not_known_nothing_is_refused_but_varying(tmp_path, index):
    (tmp_path / "model_index.json").write_text(index)
    check_pipeline(renderer(str(tmp_path), guidance_rescale=0.7), varies=False)


def test_none_of_this_imports_diffusers(tmp_path):
    code = (
        "import sys; from spti_ray.config import EngineConfig; from spti_ray.models.pipeline_classes import *;"
        f"check_pipeline(EngineConfig(kind='diffusers', model={saved(tmp_path, 'FluxPipeline')!r}), True);"
        "print([m for m in ('torch', 'diffusers', 'transformers') if m in sys.modules])"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"
