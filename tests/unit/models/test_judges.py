"""Encoders that judge: the bundled ones, tiny ones of the kinds that users name, and files that are not whole."""

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import (
    BitImageProcessor,
    CLIPConfig,
    CLIPImageProcessor,
    CLIPModel,
    Dinov2Config,
    Dinov2Model,
    PreTrainedTokenizerFast,
    SiglipConfig,
    SiglipImageProcessor,
    SiglipModel,
)

from spti_ray.config import EngineConfig
from spti_ray.models.bundled import ModelMissing
from spti_ray.models.inception_embedder import InceptionEmbedder
from spti_ray.models.judges import open_image_text_judge, open_judge

TINY = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
VISION = TINY | {"image_size": 28, "patch_size": 14}
TEXT = TINY | {"vocab_size": 8, "max_position_embeddings": 6, "eos_token_id": 7, "bos_token_id": 6, "pad_token_id": 7}
SIZE = {"height": 28, "width": 28}


def images(n=5):
    rng = np.random.default_rng(0)
    return [rng.integers(0, 256, (20 + i, 30, 3)).astype(np.uint8) for i in range(n)]


@pytest.fixture
def clip(tmp_path):
    projected = {"projection_dim": 8}
    config = CLIPConfig(vision_config=VISION | projected, text_config=TEXT | projected, **projected)
    CLIPModel(config).save_pretrained(tmp_path)
    CLIPImageProcessor(size=SIZE, do_center_crop=False).save_pretrained(tmp_path)
    words = {word: i for i, word in enumerate(["[UNK]", "a", "cat", "dog", "red", "blue", "<s>", "</s>"])}
    tokenizer = Tokenizer(models.WordLevel(words, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="</s>", eos_token="</s>", unk_token="[UNK]"
    ).save_pretrained(tmp_path)
    return tmp_path


@pytest.mark.parametrize(("name", "dimension"), [("bundled:sticker-blip", 256), ("bundled:sticker-clip", 384)])
def test_the_bundled_judges_give_features_of_one_length(name, dimension):
    judge = open_judge(name, batch_size=4)
    features = judge.features(images())
    assert features.shape == (5, dimension) and features.dtype == np.float32
    assert np.linalg.norm(features, axis=1) == pytest.approx(dimension**0.5, rel=1e-4)
    assert np.allclose(judge.features(images()[3:]), features[3:], atol=1e-3)
    assert judge.identity()["model"] == name and len(judge.identity()["revision"]) == 12


def test_the_bundled_judge_is_the_captioners_own_tower():
    from transformers import AutoImageProcessor, BlipForConditionalGeneration

    from spti_ray.models.bundled import resolve_model

    folder = resolve_model("bundled:sticker-blip")
    tower = BlipForConditionalGeneration.from_pretrained(folder, dtype=torch.float32).vision_model.eval()
    inputs = AutoImageProcessor.from_pretrained(folder, backend="pil")(images(1), return_tensors="pt")
    with torch.inference_mode():
        expected = torch.nn.functional.normalize(tower(inputs["pixel_values"]).pooler_output, dim=-1) * 16
    assert np.allclose(open_judge("bundled:sticker-blip").features(images(1)), expected.numpy(), atol=1e-3)


def test_dinov2_gives_its_pooled_output_unscaled(tmp_path):
    model = Dinov2Model(Dinov2Config(**{key: VISION[key] for key in VISION if key != "intermediate_size"})).eval()
    model.save_pretrained(tmp_path)
    BitImageProcessor(size={"shortest_edge": 28}, crop_size=SIZE).save_pretrained(tmp_path)
    judge = open_judge(str(tmp_path))
    inputs = judge._tower._processor(images(2), return_tensors="pt")
    with torch.inference_mode():
        expected = model(**inputs).pooler_output.numpy()
    assert np.allclose(judge.features(images(2)), expected, atol=1e-4)


def test_clip_gives_its_image_embedding(clip):
    judge = open_judge(str(clip))
    model = CLIPModel.from_pretrained(clip).eval()
    pixels = judge._tower._processor(images(2), return_tensors="pt")["pixel_values"]
    with torch.inference_mode():
        expected = model.visual_projection(model.vision_model(pixel_values=pixels).pooler_output).numpy()
    assert np.allclose(judge.features(images(2)), expected, atol=1e-4)


def test_of_other_pairs_of_towers_the_vision_tower_judges(tmp_path):
    text = TINY | {"vocab_size": 8, "max_position_embeddings": 6}
    SiglipModel(SiglipConfig(vision_config=VISION, text_config=text)).save_pretrained(tmp_path)
    SiglipImageProcessor(size=SIZE).save_pretrained(tmp_path)
    assert open_judge(str(tmp_path)).features(images(3)).shape == (3, 16)


def test_a_clip_model_scores_images_against_texts(clip):
    pair = open_image_text_judge(str(clip), batch_size=2)
    texts = ["a red cat", "a blue dog", "a dog", "cat"]
    scores = pair.similarities(images(3), texts)
    assert scores.shape == (3, 4) and (np.abs(scores) <= 1.0001).all()
    assert np.allclose(pair.similarities(images(3)[1:], texts[2:]), scores[1:, 2:], atol=1e-5)
    assert np.std(scores) > 0


def test_the_bundled_pair_finds_the_text_of_a_plain_picture():
    pair = open_image_text_judge("bundled:sticker-clip")
    red, green = (np.full((64, 64, 3), 255, np.uint8) for _ in range(2))
    red[16:48, 16:48] = (220, 30, 40)
    green[16:48, 16:48] = (30, 160, 60)
    scores = pair.similarities([red, green], ["a red square", "a green square"])
    assert scores[0, 0] > scores[1, 0] and scores[1, 1] > scores[0, 1]


class Layers(torch.nn.Module):
    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        return pixels.mean(dim=(2, 3))[:, :, None, None] + 2.0


class Network(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layers = Layers()

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        return self.layers(pixels)


def test_inception_gives_the_features_that_its_embedder_normalises(tmp_path):
    file = tmp_path / "inception.pt"
    torch.jit.script(Network()).save(str(file))
    judge = InceptionEmbedder(EngineConfig(kind="inception", model=str(file), options={"sha256": None}))
    features = judge.features(images(3))
    assert features.shape == (3, 3) and not np.allclose(np.linalg.norm(features, axis=1), 1.0)
    unit = features / np.linalg.norm(features, axis=1, keepdims=True)
    assert np.allclose(unit, judge.embed_images(images(3)), atol=1e-5)


def test_another_file_in_the_place_of_inceptions_is_refused(tmp_path):
    torch.jit.script(Network()).save(str(tmp_path / "inception.pt"))
    with pytest.raises(ModelMissing, match="not the Inception of the Fr") as caught:
        open_judge(f"inception:{tmp_path / 'inception.pt'}")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["inception", "inception:/no/such/file"])
def test_without_inceptions_file_one_line_says_what_to_download(name):
    with pytest.raises(ModelMissing, match="inception-2015-12-05.pt") as caught:
        open_judge(name)
    assert "\n" not in str(caught.value)


def test_weights_that_a_file_lacks_are_not_made_up(clip):
    weights = load_file(clip / "model.safetensors")
    save_file(
        {k: v for k, v in weights.items() if "visual_projection" not in k}, clip / "model.safetensors", {"format": "pt"}
    )
    with pytest.raises(ModelMissing, match="lack weights"):
        open_judge(str(clip))


def test_a_folder_that_is_no_model_is_one_line(tmp_path):
    with pytest.raises(ModelMissing) as caught:
        open_judge(str(tmp_path))
    assert "can't be loaded" in str(caught.value) and "\n" not in str(caught.value)
