"""What a trainer tells, in a process of its own and to the driver: nothing that is private."""

import pytest

from spti_ray.config import EnginesConfig
from spti_ray.finetuning import dp_finetune
from spti_ray.finetuning.public_interface import FINISHED, FinetuneFailed, FolderBusy, UnfitPipeline
from spti_ray.models.factory import engines_config
from spti_ray.private.kinds import DataError
from spti_ray.private.safe_errors import ShardError
from spti_ray.runs.folder import RunDir
from spti_ray.runtime.hosting import trainer
from spti_ray.runtime.hosting.trainer import TrainerHost
from spti_ray.runtime.ray.trainer_actor import fine_tune
from tests.unit.conftest import config_with

SECRET = "canary-91ce"


def train(tmp_path, monkeypatch, *errors):
    """Have a trainer train, with a training that raises `errors` one after the other and then ends."""
    left = list(errors)

    def failing(config, folder, on_problems):
        on_problems([(3, "not an image")])
        if left:
            raise left.pop(0)

    monkeypatch.setattr(dp_finetune, "finetune_run", failing)
    monkeypatch.setattr(trainer.time, "sleep", lambda seconds: None)
    return TrainerHost().train(config_with(), str(tmp_path), "run-1")


def test_of_an_unknown_error_only_the_type_leaves_the_actor(tmp_path, monkeypatch):
    with pytest.raises(ShardError) as failure:
        train(tmp_path, monkeypatch, ValueError(SECRET))
    assert str(failure.value) == "shard 0: fine-tuning failed (ValueError)"
    assert failure.value.__context__ is failure.value.__cause__ is None
    told = trainer.public_failure(failure.value)
    assert isinstance(told, FinetuneFailed) and str(told) == str(failure.value)
    assert SECRET not in str(trainer.public_failure(RuntimeError(SECRET)))


@pytest.mark.parametrize("error", [FinetuneFailed("steps"), UnfitPipeline("no UNet"), DataError("images: no files")])
def test_an_error_with_a_public_text_arrives_as_it_is(tmp_path, monkeypatch, error):
    with pytest.raises(type(error)) as failure:
        train(tmp_path, monkeypatch, error)
    told = trainer.public_failure(failure.value)
    assert type(told) is type(error) and str(told) == str(error)


def test_a_folder_that_an_ending_process_still_holds_is_waited_for_but_not_for_ever(tmp_path, monkeypatch):
    train(tmp_path, monkeypatch, FolderBusy("held"), FolderBusy("held"))
    monkeypatch.setattr(trainer, "_FOLDER_BUSY_S", 0.0)
    with pytest.raises(FolderBusy):
        train(tmp_path, monkeypatch, FolderBusy("held"))


def test_records_that_take_no_part_are_told_in_the_internal_folder_alone(tmp_path, monkeypatch):
    assert train(tmp_path, monkeypatch) is None
    assert (tmp_path / "internal" / "ingest.jsonl").read_text() == '{"record": 3, "problem": "not an image"}\n'


def test_a_finished_training_starts_no_actor_and_the_engines_have_its_model(tmp_path):
    config = config_with(runtime__engines="embedded")
    run = RunDir(tmp_path, "run-1", config)
    run.training.mkdir()
    (run.training / FINISHED).write_text("{}")
    engines = engines_config("embedded")
    found = fine_tune(config, run, None, (), engines, lambda: None)
    assert isinstance(found, EnginesConfig) and found.writer == engines.writer
    assert (found.renderer.model, found.renderer.dtype) == (str(run.training / "model"), "float32")
    assert found.renderer.options == engines.renderer.options
