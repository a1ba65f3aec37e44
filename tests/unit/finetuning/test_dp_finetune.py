"""The baseline on a pipeline of a few thousand weights: the real classes, and the engine that loads the result."""

import fcntl
import json
import logging
import os
import stat
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import AutoencoderKL, DDIMScheduler, StableDiffusionPipeline, UNet2DConditionModel
from transformers import AutoTokenizer

from spti_ray.config import EngineConfig, FinetuneConfig
from spti_ray.config.loading import ConfigError, load_config
from spti_ray.errors import exit_code, one_line
from spti_ray.finetuning import public_interface
from spti_ray.finetuning.denoiser import Denoiser
from spti_ray.finetuning.dp_finetune import finetune, finetune_run, plan_noise
from spti_ray.finetuning.held_out import held_out_loss
from spti_ray.finetuning.private_units import read_units
from spti_ray.finetuning.public_interface import (
    FinetuneFailed,
    UnfitPipeline,
    label_prompts,
    require_trainer,
    trained_engine,
)
from spti_ray.models.bundled import package_file, resolve_model
from spti_ray.models.diffusers_renderer import DiffusersRenderer
from spti_ray.private.record import Record

ROOT = Path(__file__).parents[3]
PROMPTS = {"all": "simple stickers"}
SETTINGS = FinetuneConfig(
    records_estimate=8, batch_size=6, steps=2, spare_steps=1, draws=2, rank=2, records_at_once=4, learning_rate=0.01
)
QUICK = SETTINGS.model_copy(update={"batch_size": 2, "draws": 1, "rank": 1})
"""Where it does not matter what is learned."""
SECRET = "canary-7f3a"


@pytest.fixture(scope="module")
def renderer(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tiny") / "model"
    torch.manual_seed(0)
    unet = UNet2DConditionModel(
        sample_size=8,
        in_channels=4,
        out_channels=4,
        block_out_channels=(8, 16),
        layers_per_block=1,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        cross_attention_dim=384,
        attention_head_dim=8,
        norm_num_groups=4,
    )
    vae = AutoencoderKL(
        block_out_channels=(8, 8),
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
        norm_num_groups=4,
        latent_channels=4,
    )
    StableDiffusionPipeline(
        vae=vae,
        text_encoder=None,
        tokenizer=AutoTokenizer.from_pretrained(resolve_model("bundled:minilm"), model_max_length=8),
        unet=unet,
        scheduler=DDIMScheduler.from_pretrained(package_file("models/sticker-sd/scheduler")),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    ).save_pretrained(folder)
    options = {"steps": 2, "height": 16, "width": 16, "text_encoder": "bundled:minilm"}
    return EngineConfig(kind="diffusers", model=str(folder), dtype="float32", batch_size=2, options=options)


def records(count=8, seed=0):
    rng = np.random.default_rng(seed)
    for index in range(count):
        yield Record(index, "all", None, rng.integers(0, 255, (20, 24, 3), dtype=np.uint8))


def trained(renderer, folder, found=None, settings=QUICK, epsilon=8.0, **more):
    return finetune(renderer, records() if found is None else found, PROMPTS, settings, epsilon, 1e-5, folder, **more)


@pytest.mark.parametrize("mode", ["lora", "full"])
def test_what_is_trained_is_loaded_and_drawn_by_the_renderers_engine(renderer, tmp_path, mode):
    result = trained(renderer, tmp_path / "made", settings=SETTINGS.model_copy(update={"mode": mode}))
    engine = DiffusersRenderer(result.engine)
    assert [image.shape for image in engine.render(["a red apple"] * 3, [1, 2, 3])] == [(16, 16, 3)] * 3
    before = UNet2DConditionModel.from_pretrained(renderer.model, subfolder="unet").state_dict()
    after = UNet2DConditionModel.from_pretrained(result.engine.model, subfolder="unet").state_dict()
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert before.keys() == after.keys()
    adapted = {name for name in before if any(f"{target}.weight" in name for target in SETTINGS.targets)}
    assert changed == (adapted if mode == "lora" else set(before))
    vae = [AutoencoderKL.from_pretrained(model, subfolder="vae") for model in (renderer.model, result.engine.model)]
    assert all(torch.equal(a, b) for a, b in zip(vae[0].parameters(), vae[1].parameters(), strict=True))
    assert result.steps == result.charged_steps == 2
    assert result.charged_epsilon is not None and result.charged_epsilon < 8.0


@pytest.fixture(scope="module")
def finished(renderer, tmp_path_factory):
    """(folder, result) of a finished training, for tests that only look."""
    folder = tmp_path_factory.mktemp("finished") / "made"
    return folder, trained(renderer, folder)


def test_the_folder_is_the_owners_and_says_that_there_is_no_certificate(finished):
    folder, _ = finished
    assert stat.S_IMODE(os.stat(folder).st_mode) == 0o700
    told = json.loads((folder / "finetune.json").read_text())
    assert "without a certificate" in told["statement"]
    assert "no certificate" in told["noise"]
    assert not list(folder.rglob("privacy.json"))


def test_a_finished_training_is_not_made_again(renderer, finished):
    folder, first = finished
    steps = []
    assert trained(renderer, folder, [], on_step=lambda *step: steps.append(step)) == first
    assert steps == []


class Crash(BaseException):
    """Such as a signal: nothing in the trainer may catch it."""


def crash_at(wanted):
    def on_step(step, of):
        if step == wanted:
            raise Crash

    return on_step


def test_steps_that_a_crash_loses_are_taken_and_charged_again(renderer, tmp_path):
    settings = QUICK.model_copy(update={"steps": 3, "spare_steps": 2, "save_every_s": 1e9})
    with pytest.raises(Crash):
        trained(renderer, tmp_path / "made", settings=settings, on_step=crash_at(2))
    result = trained(renderer, tmp_path / "made", settings=settings)
    assert (result.steps, result.charged_steps) == (3, 5)
    assert (tmp_path / "made" / "steps.log").read_text().split() == ["0", "1", "0", "1", "2"]
    assert result.plan.max_steps == 5
    assert result.charged_epsilon == pytest.approx(result.plan.achieved_epsilon)


def test_steps_whose_state_was_saved_are_not_taken_again(renderer, tmp_path):
    settings = QUICK.model_copy(update={"steps": 3, "save_every_s": 0.0})
    with pytest.raises(Crash):
        trained(renderer, tmp_path / "made", settings=settings, on_step=crash_at(2))
    # The second step's state was not saved any more: one step is lost.
    result = trained(renderer, tmp_path / "made", settings=settings)
    assert (result.steps, result.charged_steps) == (3, 4)
    assert (tmp_path / "made" / "steps.log").read_text().split() == ["0", "1", "1", "2"]


def test_when_all_paid_steps_are_charged_the_training_ends_with_what_it_has(renderer, tmp_path):
    settings = QUICK.model_copy(update={"steps": 3, "save_every_s": 1e9})
    with pytest.raises(Crash):
        trained(renderer, tmp_path / "made", settings=settings, on_step=crash_at(3))
    result = trained(renderer, tmp_path / "made", settings=settings)
    assert (result.steps, result.charged_steps) == (1, 4)
    assert result.charged_epsilon <= 8.0
    DiffusersRenderer(result.engine)


def test_a_book_of_steps_that_was_cut_back_is_noticed(renderer, tmp_path):
    settings = QUICK.model_copy(update={"save_every_s": 0.0, "steps": 3})
    with pytest.raises(Crash):
        trained(renderer, tmp_path / "made", settings=settings, on_step=crash_at(3))
    (tmp_path / "made" / "steps.log").unlink()
    with pytest.raises(FinetuneFailed, match="fewer steps than the saved state"):
        trained(renderer, tmp_path / "made", settings=settings)


def test_another_training_in_the_folder_is_refused_by_name(renderer, finished):
    folder, _ = finished
    with pytest.raises(FinetuneFailed, match=r"\(finetune\)"):
        trained(renderer, folder, settings=QUICK.model_copy(update={"rank": 3}))
    with pytest.raises(FinetuneFailed, match=r"\(epsilon, noise_multiplier\)"):
        trained(renderer, folder, epsilon=4.0)


def test_a_second_process_in_the_folder_is_refused(renderer, tmp_path):
    (tmp_path / "made").mkdir()
    with (tmp_path / "made" / "lock").open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with pytest.raises(FinetuneFailed, match="another process"):
            trained(renderer, tmp_path / "made")


def test_no_content_of_a_record_is_in_an_error_or_a_log(renderer, tmp_path, capfd, caplog):
    def broken():
        yield from records(3)
        raise ValueError(f"bad record {SECRET}")

    with caplog.at_level(logging.DEBUG), pytest.raises(FinetuneFailed) as failure:
        trained(renderer, tmp_path / "made", broken())
    assert str(failure.value) == "dp-finetune: training failed (ValueError)"
    assert failure.value.__context__ is None
    assert failure.value.__cause__ is None
    assert (exit_code(failure.value), one_line(failure.value)) == (1, str(failure.value))
    assert SECRET not in caplog.text + "".join(capfd.readouterr())


def test_private_units_neither_print_nor_pickle(renderer):
    data = read_units(Denoiser(renderer), records(3), ["all"])
    assert str(data) == repr(data) == "<PrivateUnits: private>"
    with pytest.raises(TypeError, match="never pickled"):
        data.__reduce__()


def test_a_group_is_one_unit_and_each_draw_is_of_one_of_its_records(renderer):
    found = [
        Record(record.index, "all", group, record.image) for record, group in zip(records(6), "abacab", strict=True)
    ]
    found.append(Record(6, None, None, None, "no group"))
    data = read_units(Denoiser(renderer), found, ["all"])
    assert sorted(data.units) == [[0, 2, 4], [1, 5], [3]]
    drawn = data.draw([0, 2], 50).tolist()
    assert set(drawn[:50]) == {0, 2, 4}
    assert set(drawn[50:]) == {3}


def test_noise_and_divisor_depend_on_public_numbers_alone():
    plan, mechanism = plan_noise(SETTINGS, 1.0, 1e-5)
    assert plan.achieved_epsilon <= 1.0
    assert (mechanism.noise_multiplier, mechanism.sample_rate) == (plan.noise_multiplier, 0.75)
    assert mechanism.expected_units == 6
    assert plan.max_steps == 3
    no_plan, noiseless = plan_noise(SETTINGS, None, 1e-5)
    assert no_plan is None
    assert noiseless.noise_multiplier == 0


def test_texts_are_the_public_labels_and_the_domain(tmp_path):
    file = ROOT / "jobs" / "stickers.yaml"
    assert label_prompts(load_config(file)) == {"all": "simple stickers"}
    labels = "evolution.labels=[{name: animals, hint: an animal}, {name: food}]"
    config = load_config(file, [labels, "data.label_column=label"])
    assert label_prompts(config) == {"animals": "an animal, simple stickers", "food": "food, simple stickers"}


def test_a_missing_library_is_one_line_that_says_what_to_install(monkeypatch):
    require_trainer()
    monkeypatch.setattr(public_interface, "_NEEDED", ("opacus", "no_such_library"))
    with pytest.raises(
        ConfigError, match=r"needs no_such_library, not installed here: .* pip install 'spti-ray\[eval\]'"
    ):
        require_trainer()


def test_a_configuration_trains_at_its_epsilon_and_tells_which_records_took_no_part(renderer, tmp_path):
    from PIL import Image

    (tmp_path / "images").mkdir()
    for index in range(3):
        Image.new("RGB", (16, 16), (250, 20, 20 + index)).save(tmp_path / "images" / f"{index}.png")
    (tmp_path / "images" / "torn.png").write_bytes(b"torn")
    small = ("steps=1", "spare_steps=0", "batch_size=4", "records_estimate=4", "rank=1")
    config = load_config(
        ROOT / "jobs" / "stickers.yaml",
        [
            f"data.path={tmp_path / 'images'}",
            "method=dp-finetune",
            f"runtime.engines={json.dumps({'renderer': renderer.model_dump(mode='json')})}",
            "privacy.epsilon=inf",
            "privacy.allow_not_private=true",
            *(f"finetune.{setting}" for setting in small),
        ],
    )
    told = []
    result = finetune_run(config, tmp_path / "open", told.extend)
    assert [index for index, _ in told] == [3] and result.plan is None
    assert result.engine == trained_engine(renderer, tmp_path / "open")
    closed = config.model_copy(update={"privacy": config.privacy.model_copy(update={"epsilon": 8.0})})
    assert finetune_run(closed, tmp_path / "closed").plan.achieved_epsilon <= 8.0


def test_the_training_lowers_the_loss_where_there_is_no_noise(renderer, tmp_path):
    from PIL import Image

    (tmp_path / "images").mkdir()
    for index in range(4):
        Image.new("RGB", (16, 16), (250, 20, 20 + index)).save(tmp_path / "images" / f"{index}.png")
    file = ROOT / "jobs" / "stickers.yaml"
    config = load_config(file, [f"data.path={tmp_path / 'images'}"])
    found = [Record(i, "all", None, np.full((16, 16, 3), (250, 20, 20 + i), np.uint8)) for i in range(4)]
    settings = SETTINGS.model_copy(
        update={"mode": "full", "steps": 25, "batch_size": 4, "records_estimate": 4, "draws": 1, "clip_norm": 100.0}
    )
    before = held_out_loss(config, renderer)
    result = trained(renderer, tmp_path / "made", found, settings, None)
    assert result.plan is result.charged_epsilon is None
    assert held_out_loss(config, result.engine) < 0.9 * before


def test_a_pipeline_that_can_not_be_trained_is_refused_in_one_line(renderer, tmp_path):
    with pytest.raises(UnfitPipeline, match="no module nothing"):
        trained(renderer, tmp_path / "made", settings=SETTINGS.model_copy(update={"targets": ("nothing",)}))
