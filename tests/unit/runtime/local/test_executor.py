"""A training and its end, as the driver of a local run waits for them."""

from __future__ import annotations

from concurrent.futures import Future

import pytest

from spti_ray.config.method_traits import roles_needed
from spti_ray.finetuning.public_interface import FINISHED, FinetuneFailed
from spti_ray.models.factory import FAKE
from spti_ray.runs.folder import RunDir
from spti_ray.runtime.local import executor as module
from spti_ray.runtime.local.executor import LocalSession
from spti_ray.runtime.local.process import ProcessEnded


class Started:
    """Engines and a private process that does nothing by itself."""

    def __init__(self):
        self.training: Future[None] = Future()
        self.asked = []
        self.prepared = ()
        self.process = self

    def prepare(self, public, private):
        self.prepared = set(public), set(private)

    def let_go(self, engine):
        pass

    def ask(self, *asked):
        self.asked.append(asked)
        return self.training


@pytest.fixture
def session(tmp_path, make_config):
    config = make_config(method="dp-finetune")
    started = Started()
    return started, LocalSession(config, FAKE, started, roles_needed(config)), config, RunDir(tmp_path, "run-1", config)


def test_a_training_is_waited_for_and_its_renderer_is_public(session, monkeypatch):
    started, local, config, run = session
    assert started.prepared == ({"renderer"}, {"renderer"}), "the trainer has the renderer's environment"
    monkeypatch.setattr(module, "_LOOK_EVERY_S", 0.01)
    looks: list[int] = []

    def look() -> None:
        looks.append(1)
        if len(looks) == 3:
            started.training.set_result(None)

    engines = local.train(config, run, FAKE, look)
    assert len(looks) == 3 and started.asked == [("train", config, str(run.path), "run-1")]
    assert engines.renderer.model == str(run.training / "model") and engines.writer == FAKE.writer


def test_a_finished_training_is_not_begun_again(session):
    started, local, config, run = session
    run.training.mkdir(parents=True)
    (run.training / FINISHED).write_text("{}")
    local.train(config, run, FAKE, lambda: None)
    assert started.asked == []


def test_a_trainer_that_dies_ends_the_run_in_one_line(session):
    started, local, config, run = session
    started.training.set_exception(ProcessEnded("it ended; the same command goes on with the run"))
    with pytest.raises(FinetuneFailed, match="^it ended; the same command goes on with the run$"):
        local.train(config, run, FAKE, lambda: None)
