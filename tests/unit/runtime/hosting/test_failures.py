"""What is told of an engine that could not be had."""

from __future__ import annotations

import pytest

from spti_ray.models.bundled import ModelMissing
from spti_ray.models.engine_errors import EngineNotBuilt
from spti_ray.runtime.hosting.failures import start_failure
from spti_ray.runtime.ray.events import creation_failure


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (ModelMissing("org/model: its files lack weights"), "org/model: its files lack weights"),
        (EngineNotBuilt("runtime.engines.writer: OSError: no space"), "runtime.engines.writer: OSError: no space"),
        (OSError("the weights\nare not there"), "OSError: the weights are not there"),
    ],
)
def test_an_error_of_ours_is_told_in_its_own_words_and_another_with_its_type(error, told):
    assert start_failure(error) == told


def test_on_ray_too_the_last_line_is_told_without_the_class_of_an_error_of_ours():
    raised = RuntimeError(
        "ray::Engine.__init__()\n  File ...\nspti_ray.models.bundled.ModelMissing: org/model: not there"
    )
    assert creation_failure(raised) == "org/model: not there"
