"""The task file of `spti measure`."""

import pytest

from spti_ray.config.loading import ConfigError
from spti_ray.config.measure import Coverage, LabelAccuracy, load_task, parse_task


def test_tasks_are_known_by_their_name(tmp_path):
    file = tmp_path / "t.yaml"
    file.write_text("task: label_accuracy\nepsilon: 0.5\n")
    assert isinstance(load_task(file), LabelAccuracy)
    assert isinstance(parse_task({"task": "coverage", "epsilon": 1, "radius": 0.2}), Coverage)


@pytest.mark.parametrize(
    ("raw", "line"),
    [
        ({"task": "label_accuracy", "epsilon": 1, "epslion": 2}, "epslion: unknown key; did you mean 'epsilon'"),
        ({"task": "label_accuracy", "epsilon": 1, "radius": 0.2}, "radius: unknown key"),
        ({"task": "label_acuracy", "epsilon": 1}, "there is no task 'label_acuracy'; did you mean 'label_accuracy'"),
        ({"epsilon": 1}, "task: required, one of label_accuracy, coverage"),
        ({"task": "coverage", "radius": 0.2}, "epsilon: required, but missing"),
        ({"task": "coverage", "epsilon": 1}, "coverage needs either radius or radius_quantile"),
        ({"task": "coverage", "epsilon": 1, "radius": 0.1, "radius_quantile": 0.5}, "coverage needs either"),
        ({"task": "coverage", "epsilon": 0, "radius": 0.1}, "epsilon: "),
        ({"task": "coverage", "epsilon": 1, "radius": 2.5}, "radius: "),
    ],
)
def test_what_is_wrong_with_a_task_is_one_line(tmp_path, raw, line):
    with pytest.raises(ConfigError, match=line) as caught:
        parse_task(raw)
    assert "\n" not in str(caught.value)


def test_a_task_file_that_is_none_is_named(tmp_path):
    with pytest.raises(ConfigError, match="no such task file"):
        load_task(tmp_path / "missing.yaml")
    (tmp_path / "list.yaml").write_text("- a\n")
    with pytest.raises(ConfigError, match=r"list\.yaml: expected a mapping, such as"):
        load_task(tmp_path / "list.yaml")
