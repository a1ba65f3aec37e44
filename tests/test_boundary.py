"""Who may touch clean votes and captions, read from the source of every file; see test_imports for the packages."""

import ast
from collections.abc import Iterator

import pytest

from tests.test_imports import modules

CONFINED: dict[str, set[str]] = {
    # A caption's text, on its way to the text embedder.
    "reveal": {"runtime.hosting.shard", "runtime.hosting.captions"},
    "PrivateText": {"private", "runtime.hosting.shard", "runtime.hosting.captions"},
    # Private input for an engine; the bench feeds one with pictures that it has drawn.
    "run_private": {
        "bench.feeding",
        "runtime.hosting.engine",
        "runtime.ray.shard_actor",
        "runtime.local.private_process",
    },
    # Clean votes on their way from a shard's process to the driver's voter.
    "to_wire": {"votes", "runtime.hosting.shard"},
    "from_wire": {"votes", "runtime.voter"},
    "VotesWire": {"votes", "runtime.hosting.shard"},
    # The evolution loop passes votes to the gate unread. The canary audit makes up votes of its own.
    "Votes": {
        "votes",
        "private",
        "dp.aggregation",
        "dp.gate",
        "dp.unnoised",
        "evolution.protocols",
        "runtime.voter",
        "audit",
    },
    # Whether any record can vote, and why others can't: a shard's answer to the driver, for its memory alone.
    "Prepared": {"private", "runtime.hosting.shard", "runtime.hosting.captions", "runtime.voter"},
    "can_vote": {"private", "runtime.voter"},
    # What a record is, for its owner alone: from a shard's file to the internal page.
    "Surveyed": {"private", "check"},
    "read_survey": {"private", "check"},
    # How many units a shard has, which is as private as the counts.
    "max_total": {"votes", "private", "dp.aggregation", "audit"},
}
"""Name: the only packages or modules of spti_ray that may use it, as a variable, an attribute, an import or a text."""

READERS = {"votes", "private", "dp.aggregation", "dp.gate", "dp.unnoised", "audit"}
"""Of the modules that know `Votes`, those that may read `counts_K`; elsewhere that is a noised histogram's."""


def names(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """(line, name) of every name that code uses; texts count as well, since `getattr` takes them."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute):
            yield node.lineno, node.attr
        elif isinstance(node, ast.Name):
            yield node.lineno, node.id
        elif isinstance(node, ast.alias):
            yield node.lineno, node.name.rpartition(".")[2]
        elif isinstance(node, ast.keyword) and node.arg:
            yield node.value.lineno, node.arg
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.lineno, node.value


def touches(source: str, name: str) -> list[str]:
    """Uses in `source` that break a rule; `name` is the module's dotted name, such as `spti_ray.public.prompts`."""
    module = name.removeprefix("spti_ray.")
    used = list(names(ast.parse(source)))
    confined = dict(CONFINED)
    if any(word == "Votes" for _, word in used):
        confined["counts_K"] = READERS
    return [
        f"{name}:{line} may not use {word}"
        for line, word in used
        if word in confined and not any(f"{module}.".startswith(f"{place}.") for place in confined[word])
    ]


def test_every_module_leaves_alone_what_is_private():
    files = modules()
    assert len(files) > 30
    found = [line for name, path in files.items() for line in touches(path.read_text(encoding="utf-8"), name)]
    assert found == []


@pytest.mark.parametrize(
    ("name", "source"),
    [
        ("spti_ray.public.prompts", "def f(caption):\n    return 'a ' + caption.reveal()"),
        ("spti_ray.public.prompts", "read = caption.reveal"),
        ("spti_ray.public.prompts", "text = getattr(caption, 'reveal')()"),
        ("spti_ray.private.shard", "texts = [text.reveal() for text in captions]"),
        ("spti_ray.driver.driver", "from spti_ray.private.captions import PrivateText"),
        ("spti_ray.runtime.scheduling.engine_streams", "actor.run_private.remote(unit)"),
        ("spti_ray.driver.driver", "wire = votes.to_wire()"),
        ("spti_ray.dp.gate", "Votes.from_wire(wire)\nfrom spti_ray.votes import Votes"),
        ("spti_ray.runs.folder", "from spti_ray.votes import VotesWire"),
        ("spti_ray.public.selection", "from spti_ray.votes import Votes"),
        ("spti_ray.release.report.data", "import spti_ray.votes as t\nx: t.Votes"),
        (
            "spti_ray.evolution.protocols",
            "from spti_ray.votes import Votes\ndef f(v: Votes): print(v.counts_K)",
        ),
        ("spti_ray.runtime.voter", "from spti_ray.votes import Votes\nvotes.counts_K"),
        ("spti_ray.runtime.voter", "from spti_ray.votes import Votes\ngetattr(votes, 'counts_K')"),
        ("spti_ray.dp.artifact", "def f(total): return total.max_total"),
        ("spti_ray.runtime.local.voter", "from spti_ray.votes import VotesWire"),
        ("spti_ray.runtime.local.engines", "self._host.run_private(batch)"),
        ("spti_ray.driver.driver", "def f(shard): return shard.can_vote"),
        ("spti_ray.release.report.data", "from spti_ray.private.survey import read_survey"),
    ],
)
def test_a_planted_touch_is_found(name, source):
    assert len(touches(source, name)) == 1


@pytest.mark.parametrize(
    ("name", "source"),
    [
        ("spti_ray.public.selection", "from spti_ray.types import NoisyHistogram\nhistogram.counts_K"),
        ("spti_ray.dp.gate", "from spti_ray.votes import Votes\nself._noise.add_noise(total.counts_K)"),
        ("spti_ray.evolution.protocols", "from spti_ray.votes import Votes\ngate.measure(voter.vote(scored))"),
        ("spti_ray.runtime.hosting.shard", "[caption.reveal() for caption in captions]\nshard.vote().to_wire()"),
        ("spti_ray.public.prompts", "'''Nothing here may reveal() a caption or see Votes.'''"),
    ],
)
def test_what_is_allowed_is_not_reported(name, source):
    assert touches(source, name) == []
