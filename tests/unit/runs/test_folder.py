"""Which run a folder belongs to."""

import pytest

from spti_ray.config.loading import ConfigError
from spti_ray.runs.folder import RunDir


def test_a_changed_setting_is_told_without_the_credentials_that_its_old_value_had(tmp_path, make_config):
    RunDir.open(tmp_path / "run", make_config(data__path="s3://key:sEcReT@bucket/x")).unlock()
    with pytest.raises(ConfigError, match=r"data\.path was 's3://bucket/x', now 's3://bucket/y'") as error:
        RunDir.open(tmp_path / "run", make_config(data__path="s3://bucket/y"))
    assert "sEcReT" not in str(error.value)
