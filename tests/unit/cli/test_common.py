"""Whatever a command raises, the user gets one line and an exit code, and no text that may be private."""

import pytest
import typer
from ray.exceptions import RuntimeEnvSetupError

from spti_ray.cli.common import one_line_errors
from spti_ray.config.loading import ConfigError
from spti_ray.models.bundled import ModelNotFound


class Panic(BaseException):
    """As a Rust library raises it: no Exception."""


def made_of_interrupt() -> ImportError:
    """As libraries raise it that are imported when Ctrl-C comes."""
    error = ImportError("canary")
    error.__cause__ = RuntimeError("canary")
    error.__cause__.__context__ = KeyboardInterrupt()
    return error


@pytest.mark.parametrize(
    ("error", "code", "told"),
    [
        (ConfigError("privacy.epsilon: wrong"), 2, "privacy.epsilon: wrong"),
        (ValueError("canary"), 1, "unexpected ValueError"),
        (Panic("canary"), 1, "unexpected Panic"),
        (RuntimeEnvSetupError("canary"), 4, "Ray could not make the runtime environment"),
        (type("RuntimeEnvSetupError", (Exception,), {})("canary"), 1, "unexpected RuntimeEnvSetupError"),
        (KeyboardInterrupt(), 1, "run the same command again"),
        (made_of_interrupt(), 1, "run the same command again"),
        (ModelNotFound("--judge nope/nope: is not in the cache"), 2, "--judge nope/nope: is not in the cache"),
    ],
)
def test_an_error_becomes_one_line_and_an_exit_code(
    error: BaseException, code: int, told: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.delenv("SPTI_DEBUG", raising=False)
    with pytest.raises(typer.Exit) as left, one_line_errors():
        raise error
    said = capsys.readouterr()
    assert left.value.exit_code == code and said.out == ""
    assert told in said.err and said.err.count("\n") == 1 and "canary" not in said.err


def test_a_command_that_chose_its_exit_code_keeps_it():
    with pytest.raises(typer.Exit) as left, one_line_errors():
        raise typer.Exit(3)
    assert left.value.exit_code == 3
