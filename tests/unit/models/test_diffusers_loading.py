"""The layouts in which people have pipelines, on tiny ones of real classes with random weights."""

import json
import shutil
from pathlib import Path

import gguf
import numpy as np
import pytest
import torch
from safetensors.numpy import load_file, save_file

from spti_ray.config import EngineConfig
from spti_ray.models.bundled import ModelMissing, model_identity
from spti_ray.models.engine_process import engine_environment
from spti_ray.models.factory import build_engine
from spti_ray.models.pipeline_classes import check_pipeline
from spti_ray.models.weight_files import file_names, is_single_file, variant_of
from tests.ldm_layout import save_as_one_file
from tests.tiny_classes import TINY, save_tiny

TEXTS, SEEDS = ["a cat", "blue bird on the mat"], [1, 2]
SMALL = {"steps": 2, "height": 32, "width": 32}


def settings(model, **options):
    return EngineConfig(kind="diffusers", model=str(model), dtype="float32", batch_size=2, options=SMALL | options)


def rendered(model, **options):
    config = settings(model, **options)
    check_pipeline(config, varies=False)
    return np.stack(build_engine("renderer", config).render(TEXTS, SEEDS)).astype(int)


@pytest.fixture(scope="module")
def stable_diffusion(tmp_path_factory):
    return save_tiny("StableDiffusionPipeline", tmp_path_factory.mktemp("sd"))


@pytest.fixture(scope="module")
def flux(tmp_path_factory):
    return save_tiny("FluxPipeline", tmp_path_factory.mktemp("flux"))


def test_weights_that_are_stored_in_one_variant_alone_are_found(tmp_path, stable_diffusion):
    plain = rendered(stable_diffusion)
    save_tiny("StableDiffusionPipeline", tmp_path, variant="fp16")
    assert not (tmp_path / "unet" / "diffusion_pytorch_model.safetensors").exists()
    assert np.array_equal(rendered(tmp_path), plain)


def test_a_repository_that_stores_only_some_weights_in_a_variant_is_loaded_whole(tmp_path, stable_diffusion):
    save_tiny("StableDiffusionPipeline", tmp_path, variant="fp16")
    shutil.copy(Path(stable_diffusion, "vae", "diffusion_pytorch_model.safetensors"), tmp_path / "vae")
    (tmp_path / "vae" / "diffusion_pytorch_model.fp16.safetensors").unlink()
    assert np.array_equal(rendered(tmp_path), rendered(stable_diffusion))


@pytest.mark.parametrize(
    ("names", "preferred", "found"),
    [
        (["unet/diffusion_pytorch_model.safetensors", "unet/diffusion_pytorch_model.fp16.safetensors"], "fp16", None),
        (["unet/diffusion_pytorch_model.fp16.safetensors", "vae/diffusion_pytorch_model.safetensors"], None, "fp16"),
        (["text_encoder/model.fp16-00001-of-00002.safetensors"], None, "fp16"),
        (["transformer/diffusion_pytorch_model-00001-of-00002.bf16.safetensors"], None, "bf16"),
        (["unet/diffusion_pytorch_model.fp16.bin", "unet/diffusion_pytorch_model.bf16.bin"], "fp16", "fp16"),
        (["unet/diffusion_pytorch_model.fp16.bin", "vae/diffusion_pytorch_model.bf16.bin"], None, None),
        (["unet/diffusion_pytorch_model-00001-of-00002.safetensors", "model.fp16.safetensors"], None, None),
        (["scheduler/scheduler_config.json", "unet/config.json"], None, None),
    ],
)
def test_the_variant_of_a_repository(names, preferred, found):
    assert variant_of(names, preferred) == found


def test_without_a_network_the_files_of_a_repository_are_those_in_the_cache(tmp_path, monkeypatch):
    def unreachable(*args, **kwargs):
        raise RuntimeError("no route to host")

    monkeypatch.setattr("huggingface_hub.HfApi.list_repo_files", unreachable)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    assert file_names("someone/model", None) == []
    repository = tmp_path / "models--someone--model"
    (repository / "refs").mkdir(parents=True)
    (repository / "refs" / "main").write_text("abc")
    (repository / "snapshots" / "abc" / "unet").mkdir(parents=True)
    (repository / "snapshots" / "abc" / "unet" / "diffusion_pytorch_model.fp16.safetensors").touch()
    assert file_names("someone/model", None) == ["unet/diffusion_pytorch_model.fp16.safetensors"]


def test_a_whole_checkpoint_in_one_file_renders_as_its_folder_does(tmp_path, stable_diffusion):
    torch.manual_seed(0)  # The same weights as those of the folder, and none of the base's.
    file = save_as_one_file(TINY["StableDiffusionPipeline"](), tmp_path / "mine.safetensors")
    base = save_tiny("StableDiffusionPipeline", tmp_path / "base", seed=1)
    images = rendered(file, base=base)
    assert np.abs(images - rendered(stable_diffusion)).mean() < 1, "weights in half precision"
    assert np.abs(images - rendered(base)).mean() > 10
    identity = build_engine("renderer", settings(file, base=base)).identity()
    assert len(identity["revision"]) == 12 and identity["base"].startswith(base)


def test_a_single_file_is_known_by_its_content(tmp_path):
    revisions = set()
    for content in (b"1", b"2"):
        file = tmp_path / content.decode() / "denoiser.gguf"
        file.parent.mkdir()
        file.write_bytes(content)
        revisions.add(model_identity("diffusers", str(file), None)["revision"])
    assert len(revisions) == 2


def test_a_denoiser_in_one_file_takes_the_rest_from_its_base(tmp_path, flux):
    file = tmp_path / "denoiser.safetensors"
    shutil.copy(Path(flux, "transformer", "diffusion_pytorch_model.safetensors"), file)
    weights = load_file(file)
    assert np.array_equal(rendered(file, base=flux), rendered(flux))
    save_file({name: value * 0.5 for name, value in weights.items()}, file)
    assert not np.array_equal(rendered(file, base=flux), rendered(flux)), "the file's weights, not those of the base"


def test_a_gguf_file_keeps_its_weights_in_few_bits(tmp_path, flux):
    file = tmp_path / "denoiser.gguf"
    writer = gguf.GGUFWriter(file, "flux")
    for name, value in load_file(Path(flux, "transformer", "diffusion_pytorch_model.safetensors")).items():
        few = value.ndim == 2 and value.shape[1] % 32 == 0
        kind = gguf.GGMLQuantizationType.Q8_0 if few else gguf.GGMLQuantizationType.F32
        stored = gguf.quants.quantize(value, kind) if few else value
        writer.add_tensor(name, stored, raw_dtype=kind)
    for write in (
        writer.write_header_to_file,
        writer.write_kv_data_to_file,
        writer.write_tensors_to_file,
        writer.close,
    ):
        write()
    difference = np.abs(rendered(file, base=flux) - rendered(flux))
    assert 0 < difference.mean() < 5


def test_what_a_single_file_lacks_is_told_at_planning(tmp_path, flux):
    file = tmp_path / "denoiser.gguf"
    file.write_bytes(b"")
    assert is_single_file(str(file)) and is_single_file("owner/name/a.safetensors") and not is_single_file(flux)
    with pytest.raises(ValueError, match=r"renderer\.options\.base: is not set, but the model is a single file"):
        check_pipeline(settings(file), varies=False)
    with pytest.raises(ValueError, match=r"renderer\.options\.base: is for a model that is a single file"):
        check_pipeline(settings(flux, base=flux), varies=False)
    with pytest.raises(ValueError, match=r"renderer\.options\.quantization: is for a folder"):
        check_pipeline(settings(file, base=flux, quantization={"backend": "torchao"}), varies=False)


def test_a_single_file_with_a_base_elsewhere_is_not_offline(flux):
    assert "HF_HUB_OFFLINE" in engine_environment("renderer", settings("./a.gguf", base=flux))
    assert "HF_HUB_OFFLINE" not in engine_environment("renderer", settings("./a.gguf", base="someone/model"))


@pytest.mark.parametrize("name", ["BriaPipeline", "SanaSprintPipeline", "HunyuanImagePipeline"])
def test_a_pipeline_that_auto_pipeline_does_not_list_is_loaded_by_the_class_that_it_names(tmp_path, name):
    extra = {"use_resolution_binning": False} if "Sana" in name else {}
    assert rendered(save_tiny(name, tmp_path), extra=extra).shape == (2, 32, 32, 3)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        (["pipeline", "MyPipeline"], "code of its own"),
        ("PaintedPipeline", "which diffusers .* does not have"),
        ("DDPMPipeline", "takes no text and seed"),
        ("WanPipeline", "makes videos"),
    ],
)
def test_what_makes_no_images_of_texts_is_refused_in_one_line(tmp_path, name, words):
    (tmp_path / "model_index.json").write_text(json.dumps({"_class_name": name}))
    with pytest.raises(ModelMissing, match=words) as caught:
        build_engine("renderer", settings(tmp_path))
    assert "\n" not in str(caught.value)
    if name in ("DDPMPipeline", "WanPipeline"):
        with pytest.raises(ValueError, match=rf"^runtime\.engines\.renderer\.model: is a {name}, which {words}"):
            check_pipeline(settings(tmp_path), varies=False)
