"""YAML and JSON that can't be used, or would be passed over in silence, is refused in one line."""

from __future__ import annotations

import json
import os
import threading
import time
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from spti_ray.config.loading import ConfigError, load_config, parse_config
from spti_ray.config.parsing import DEEPEST, Unreadable, check_size, parse_json, parse_yaml, read_text
from spti_ray.runs.run_file import read_run
from spti_ray.runtime.placement.fit import load_topology
from tests.unit.config.test_config import MINIMAL, changed

TOO_DEEP = f"it is nested more than {DEEPEST} levels deep, or holds itself; make it flatter"
BASE = yaml.safe_dump(MINIMAL)


def refused(text: str) -> str:
    with pytest.raises(Unreadable) as caught:
        parse_yaml(text)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("depth", [DEEPEST + 1, 2_000, 20_000])
@pytest.mark.parametrize(("opens", "closes"), [("[", "]"), ("{a: ", "}"), ("[", "")])
def test_deep_nesting_is_one_line(opens: str, closes: str, depth: int):
    if not closes and depth <= DEEPEST + 1:
        return  # that one is just not closed
    assert refused("x: " + opens * depth + "1" + closes * depth) == TOO_DEEP


def test_what_is_just_deep_enough_is_read():
    assert parse_yaml("[" * DEEPEST + "1" + "]" * DEEPEST)


def test_aliases_that_stand_for_too_much_are_refused_at_once():
    lines = ["a0: &a0 [1, 1, 1, 1, 1, 1, 1, 1, 1]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]" for i in range(1, 30)]
    started = time.monotonic()
    assert "more than 1000000 values, with aliases (*) written out" in refused("\n".join(lines))
    merged = ["a0: &a0 {k: 1}"] + [f"a{i}: &a{i} {{<<: [{', '.join([f'*a{i - 1}'] * 9)}]}}" for i in range(1, 30)]
    assert parse_yaml("\n".join(merged))["a29"] == {"k": 1}
    assert time.monotonic() - started < 10


def test_aliases_and_merges_are_still_there():
    assert parse_yaml("a: &a {x: 1, y: 2}\nb: {<<: *a, y: 3}\nc: [*a, *a]") == {
        "a": {"x": 1, "y": 2},
        "b": {"x": 1, "y": 3},
        "c": [{"x": 1, "y": 2}] * 2,
    }


@pytest.mark.parametrize("text", ["&a [*a]", "&a {b: *a}", "&a [[{b: [*a]}]]"])
def test_what_holds_itself_is_refused(text: str):
    assert refused(f"x: {text}") == TOO_DEEP


def test_a_key_that_is_set_twice_is_named_with_its_line():
    assert refused("a: 1\nb:\n  c: 1\n  d: 2\n  c: 3\n") == "line 5: c is set twice; keep one of them"
    assert refused('{a: 1, "a": 2}') == "line 1: a is set twice; keep one of them"


@pytest.mark.parametrize("text", ["x: 2020-02-31", "x: !!int a", "x: *nothing"])
def test_a_value_that_is_none_is_not_valid_yaml(text: str):
    assert refused(text).startswith("not valid YAML")


def test_control_characters_are_told():
    assert refused("a: \0") == ("is no text: it has characters that YAML does not allow; write it as text in UTF-8")


plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=20,
)


@given(plain)
def test_what_yaml_writes_is_read_as_pyyaml_reads_it(value: object):
    text = yaml.safe_dump(value, allow_unicode=True)
    assert parse_yaml(text) == yaml.safe_load(text)


@given(st.text(alphabet="ab:{}[],&*<- \n\t'\"|>?!%0", max_size=60))
def test_any_text_is_a_value_or_one_line(text: str):
    try:
        parse_yaml(text)
    except Unreadable as error:
        assert str(error)


def test_a_configuration_says_which_file(tmp_path: Path):
    for content, expected in {
        BASE + "title: a\ntitle: b\n": "line 16: title is set twice; keep one of them",
        BASE + "x: " + "[" * 5_000: TOO_DEEP,
        "\0": "is no text: it has characters that YAML does not allow; write it as text in UTF-8",
    }.items():
        file = tmp_path / "run.yaml"
        file.write_text(content)
        with pytest.raises(ConfigError) as caught:
            load_config(file)
        assert str(caught.value) == f"{file}: {expected}"


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("title=" + "[" * 5_000, f"--set title: {TOO_DEEP}"),
        ("privacy={epsilon: 1, epsilon: 2}", "--set privacy: line 1: epsilon is set twice; keep one of them"),
        ("privacy..epsilon=1", "--set privacy..epsilon=1: write it as section.key=value"),
        ("a." * 5_000 + "b=1", f"--set {('a.' * 50)[:97]}...: write it as section.key=value"),
    ],
)
def test_an_override_says_which_one(tmp_path: Path, override: str, expected: str):
    (tmp_path / "run.yaml").write_text(BASE)
    with pytest.raises(ConfigError) as caught:
        load_config(tmp_path / "run.yaml", [override])
    assert str(caught.value) == expected


def test_a_tree_from_python_is_checked_as_well():
    deep: object = 1
    for _ in range(5_000):
        deep = {"a": deep}
    loop: dict[str, object] = {}
    loop["a"] = loop
    for value in (deep, loop):
        with pytest.raises(ConfigError) as caught:
            parse_config(changed("runtime.engines", {"writer": {"options": {"extra": value}}}))
        assert str(caught.value) == f"the settings can't be used: {TOO_DEEP}"
    check_size(MINIMAL)


def test_nodes_and_stored_runs_are_read_the_same_way(tmp_path: Path):
    (tmp_path / "nodes.yaml").write_text("nodes: " + "[" * 5_000)
    with pytest.raises(ConfigError) as caught:
        load_topology(tmp_path / "nodes.yaml")
    assert str(caught.value) == f"{tmp_path}/nodes.yaml: {TOO_DEEP}"
    (tmp_path / "nodes.yaml").write_text("nodez: []")
    with pytest.raises(ConfigError) as caught:
        load_topology(tmp_path / "nodes.yaml")
    assert str(caught.value) == "nodez: unknown key; did you mean 'nodes'?"
    (tmp_path / "run.yaml").write_text("config: " + "{a: " * 5_000)
    with pytest.raises(ConfigError) as caught:
        read_run(tmp_path)
    assert str(caught.value) == f"{tmp_path}/run.yaml: {TOO_DEEP}; restore the run's folder, or use another"


def test_a_file_that_never_ends_is_given_up_and_a_pipe_is_read(tmp_path: Path):
    with pytest.raises(Unreadable, match=r"^is larger than 16 MiB, and so not meant; give a file of settings$"):
        read_text(Path("/dev/zero"))
    os.mkfifo(tmp_path / "pipe")
    writer = threading.Thread(target=(tmp_path / "pipe").write_text, args=("a: 1",))
    writer.start()
    assert read_text(tmp_path / "pipe") == "a: 1"
    writer.join()


@pytest.mark.parametrize("text", ["[" * 100_000, '{"a":' * 100_000, "nothing", b"\xff"])
def test_json_that_is_nested_too_deeply_is_no_valid_json(text: str | bytes):
    with pytest.raises(ValueError):
        parse_json(text)
    assert parse_json(b'{"a": [1]}') == {"a": [1]}
    assert issubclass(json.JSONDecodeError, ValueError)
