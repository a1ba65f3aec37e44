"""What users read where a library can't build an engine: one line that says what is wrong."""

import os
import subprocess
import sys

import pytest
from pydantic import BaseModel, model_validator

from spti_ray.config import EngineConfig
from spti_ray.models.engine_errors import EngineNotBuilt
from spti_ray.models.factory import build_engine
from spti_ray.models.output_tail import OutputTail


class ModelSettings(BaseModel):
    length: int = 1

    @model_validator(mode="after")
    def _fits(self):
        raise ValueError(f"length {self.length} is more than the model has:\n  32")


class SaysItInPydanticsWords:
    def __init__(self, config):
        ModelSettings(**config.options)

    def write(self, requests): ...


class SaysItFirst(SaysItInPydanticsWords):
    def __init__(self, config):
        raise OSError("nobody/nothing is no model\nIf this is a private repository, log in\nand try again " + "x" * 400)


class SaysItInOneLine(SaysItInPydanticsWords):
    def __init__(self, config):
        raise ValueError("set options.base")


def built(kind, **options):
    return build_engine("writer", EngineConfig(kind=f"{__name__}:{kind.__name__}", model="m", options=options))


@pytest.mark.parametrize(
    ("kind", "options", "line"),
    [
        (SaysItInPydanticsWords, {"length": 99}, "ModelSettings: length 99 is more than the model has: 32"),
        (SaysItInPydanticsWords, {"length": "x"}, "ModelSettings: length: Input should be a valid integer, unable"),
        (SaysItFirst, {}, "OSError: nobody/nothing is no model If this is a private repository, log in and"),
    ],
)
def test_what_a_library_says_in_many_lines_is_told_in_one(kind, options, line):
    with pytest.raises(EngineNotBuilt) as caught:
        built(kind, **options)
    said = str(caught.value)
    assert said.startswith(f"runtime.engines.writer: {line}")
    assert "\n" not in said and "further information" not in said and len(said) < 340


def test_an_error_of_one_line_stays_as_it_is():
    with pytest.raises(ValueError, match="^set options.base$"):
        built(SaysItInOneLine)


PROCESS = """
import sys
print("(EngineCore pid=7) ERROR 11-30 10:00:00 [core.py:900] ValueError: No available memory for the cache blocks.")
print("ValueError: No available memory for the cache blocks.", file=sys.stderr)
print("  raise RuntimeError('later')", file=sys.stderr)
"""


def test_the_error_that_another_process_printed_is_found_and_its_output_is_passed_on(capfd):
    tail = OutputTail()
    with tail:
        subprocess.run([sys.executable, "-c", PROCESS], check=True)
        os.write(2, b"RuntimeError: Engine core initialization failed. See root cause above.\n")
    assert tail.reason() == "ValueError: No available memory for the cache blocks."
    os.write(1, b"afterwards\n")
    passed_on = "".join(capfd.readouterr())
    assert "EngineCore pid=7" in passed_on and "later" in passed_on and passed_on.count("afterwards") == 1


def test_output_without_an_error_gives_no_reason():
    tail = OutputTail()
    with tail:
        os.write(1, b"all is well: no Error here\n")
    assert tail.reason() == ""


@pytest.mark.slow
def test_the_reason_of_vllms_own_process_reaches_the_user(tmp_path):
    from tests.tiny_models import save_llama

    save_llama(tmp_path)
    (tmp_path / "model.safetensors").write_bytes(b"")
    code = (
        "import os, sys; from spti_ray.config import EngineConfig; from spti_ray.models.factory import build_engine;"
        "from spti_ray.models.engine_process import engine_environment;"
        "config = EngineConfig(kind='vllm', model=sys.argv[1], options={'max_model_len': int(sys.argv[2])});"
        "os.environ.update(engine_environment('writer', config));"
        "\ntry: build_engine('writer', config)\nexcept Exception as error: print('SAID', error)"
    )

    def said(length):
        run = [sys.executable, "-c", code, str(tmp_path), str(length)]
        return subprocess.run(run, capture_output=True, text=True).stdout.rpartition("SAID ")[2].strip()

    in_this_process = said(99999)
    assert "max_model_len" in in_this_process and "\n" not in in_this_process and "further" not in in_this_process
    in_another = said(64)
    assert in_another.startswith("vLLM could not start its engine: ") and "\n" not in in_another
    assert "header" in in_another.lower(), in_another
