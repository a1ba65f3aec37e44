"""No canary of the private side is in anything that a run leaves or shows: whole runs on real Ray, all logs at DEBUG.

The engines are the test's own: they note down every request, caption images with the text that their pixels spell,
and print, log and warn with all they are given. Faults with private content in their text are planted in the engines
and in the private code of the shards; each start then ends in a release or in one clear line. tests/taint has the
parts, and tests/ray/test_boundary.py the same for each method of the actors.
"""

from __future__ import annotations

import base64
import gzip
import json
import pickle
import shutil
import stat
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from tests.taint.cluster import Cluster, environment, shown_by
from tests.taint.data import LISTED, NUM_GROUPS, plant_folder, plant_parquet
from tests.taint.faults import plant_in
from tests.taint.scan import CORE, find_in_bytes, find_in_files, pickles

ENGINES = {
    "writer": "Writer",
    "renderer": "Renderer",
    "captioner": "Captioner",
    "image_embedder": "ImageEmbedder",
    "text_embedder": "TextEmbedder",
}


@pytest.fixture(scope="module")
def cluster(home: Path) -> Iterator[Cluster]:
    # Ray makes sockets under its folder, and their paths must be short.
    folder = Path(tempfile.mkdtemp(prefix="ray", dir="/tmp"))
    cluster = Cluster.start(folder, home)
    yield cluster
    cluster.stop()
    shutil.rmtree(folder, ignore_errors=True)


@dataclass(frozen=True)
class Run:
    """A run that is started once or more: it reads `folder`/in, and all that it leaves is in `folder`/left."""

    cluster: Cluster
    home: Path
    folder: Path

    @property
    def data(self) -> Path:
        return self.folder / "in" / "data"

    @property
    def out(self) -> Path:
        return self.folder / "left" / "run"

    def configure(self, **changes: Any) -> None:
        for name in ("in", "left", "notes"):
            (self.folder / name).mkdir()
        options = {"notes": str(self.folder / "notes"), "chatty": True}
        common = {"model": "SIMULATED", "num_cpus": 0.1, "batch_size": 4, "options": options}
        config: dict[str, Any] = {
            "data": {"path": str(self.data)},
            "dataset": {"id": "toys"},
            "privacy": {"epsilon": 4.0, "delta": 1e-5},
            "evolution": {"generations": 2, "candidates": 12, "voting": "joint", "lookahead": 1},
            "prompts": {
                "domain": "toys",
                "attributes": {"subject": ["cat", "car", "apple"], "color": ["red", "blue"]},
                "examples": ["a brown dog", "a big red ball"],
                "rephrase_examples": [{"text": "a brown dog", "new": "a black dog"}],
                "fill_examples": [{"blanks": "a _ dog", "filled": "a small dog"}],
            },
            "release": {"images": 4},
            "ledger": {"path": str(self.folder / "left" / "ledger")},
            "runtime": {
                "engines": {role: {"kind": f"tests.taint.engines:{ENGINES[role]}", **common} for role in ENGINES}
            },
        }
        for section, values in changes.items():
            config[section] = config[section] | values if isinstance(values, dict) else values
        (self.folder / "in" / "run.yaml").write_text(json.dumps(config))

    def start(self, faults: dict[str, tuple[str, int]] | None = None) -> tuple[int, list[str]]:
        """Start the run, or go on with it, with faults as in tests/taint/faults.py; its exit code and error lines."""
        plant_in(self.home, faults or {})
        done = subprocess.run(
            [sys.executable, "-m", "spti_ray.cli", "run", str(self.folder / "in" / "run.yaml"), "--out", "run"],
            cwd=self.folder / "left",
            env=environment(self.home) | {"RAY_ADDRESS": self.cluster.address},
            text=True,
            capture_output=True,
            timeout=200,
            check=False,
        )
        with open(self.folder / "left" / "printed.txt", "a") as printed:
            printed.write(done.stdout + done.stderr)
        assert "Traceback" not in done.stdout
        # All else there is what libraries log at DEBUG.
        return done.returncode, [line for line in done.stderr.splitlines() if line.startswith("spti: ")]

    def noted(self, side: str, role: str) -> str:
        """The requests that an engine got on the public or private side."""
        path = self.folder / "notes" / f"{side}-{role}.txt"
        return path.read_text() if path.exists() else ""

    def leaks(self) -> list[str]:
        """Each canary in what the run left, in what Ray logged and shows, and in public requests of engines."""
        time.sleep(1.5)  # Task events are on their way.
        found = find_in_files([self.folder / "left", self.cluster.folder])
        for name, text in shown_by(self.cluster.address).items():
            found += [f"ray list {name}: {how}" for how in find_in_bytes(text.encode())]
        for path in sorted((self.folder / "notes").glob("public-*")):
            found += [f"{path.name}: {how}" for how in find_in_bytes(path.read_bytes())]
        return found


@pytest.fixture
def run(cluster: Cluster, home: Path, tmp_path: Path) -> Run:
    return Run(cluster, home, tmp_path)


def _assert_for_owner_only(folder: Path) -> None:
    for path in [folder, *folder.rglob("*")]:
        assert stat.S_IMODE(path.stat().st_mode) == (0o700 if path.is_dir() else 0o600), path


def test_a_run_with_careless_engines_leaves_nothing_private_anywhere(run):
    """Engines print, log, warn with and fail on private content; each record is tried again, and there is a release."""
    run.configure(evolution={"labels": [{"name": LISTED}]})
    plant_folder(run.data)
    faults = {"captioner": ("chained", 1), "image_embedder": ("SystemExit", 2), "text_embedder": ("Panic", 1)}
    assert run.start(faults) == (0, [])
    assert run.leaks() == []
    # The canaries did go where they may: captions exist, and reached the private side of the text embedder.
    for role in ("captioner", "image_embedder", "text_embedder"):
        assert f"{CORE}pixels" in run.noted("private", role) and run.noted("private", role).count(CORE) > 10
    assert run.noted("public", "writer") and run.noted("public", "renderer")
    assert run.noted("public", "text_embedder") and run.noted("public", "image_embedder")
    assert not run.noted("private", "writer") and not run.noted("private", "renderer")
    assert not run.noted("public", "captioner")
    problems = (run.out / "internal" / "ingest.jsonl").read_text()
    assert "no listed label" in problems and "truncated or corrupt" in problems

    assert pickles([run.folder / "left"]) == []
    _assert_for_owner_only(run.out / "internal")


@pytest.mark.slow
def test_captions_that_are_rendered_reach_the_renderer_and_nothing_else(run):
    """Not private, for the owner's eyes: even so no caption, name or pixel is in a log, a message or any file."""
    run.configure(
        method="captions", privacy={"allow_not_private": True}, evolution={"labels": [{"name": LISTED}], "lookahead": 0}
    )
    plant_folder(run.data)
    assert run.start({"captioner": ("chained", 1), "renderer": ("SystemExit", 1)}) == (0, [])
    assert run.leaks() == []
    assert run.noted("private", "captioner") and f"{CORE}pixels" in run.noted("private", "renderer")
    for role in ("captioner", "renderer", "writer", "image_embedder", "text_embedder"):
        assert not run.noted("public", role), "nothing passes the public side"
    assert sorted(path.name for path in run.out.iterdir()) == ["internal", "run.yaml"]
    assert len(list((run.out / "internal" / "not-private" / "images").iterdir())) == 4
    _assert_for_owner_only(run.out / "internal")


FATAL: list[tuple[str, str, str]] = [
    # (function of the private side, error, what the one line says)
    ("private.record.decode", "Panic", "preparing failed (Panic)"),
    ("private.view_store.atomic_file", "OSError", "preparing failed (OSError)"),
    ("private.shard.cast_votes", "SystemExit", "voting failed (SystemExit)"),
]


@pytest.mark.slow
def test_each_fault_of_a_shard_ends_in_one_line_and_the_run_goes_on_in_the_end(run):
    """Groups of a Parquet file are named by canaries. The last fault comes after the charge and costs a spare slot."""
    run.configure(
        data={"path": str(run.data), "group_column": "who"}, privacy={"unit": "group", "spare_slots": 1, "epsilon": 8.0}
    )
    plant_parquet(run.data)
    for place, error, said in FATAL:
        code, lines = run.start({f"spti_ray.{place}": (error, 9)})
        assert code == 1 and len(lines) == 1 and said in lines[0] and "shard" in lines[0], lines
    assert run.start() == (0, [])
    assert run.leaks() == []
    assert run.noted("private", "text_embedder").count(CORE) > NUM_GROUPS
    assert pickles([run.folder / "left"]) == []
    _assert_for_owner_only(run.out / "internal")


def _planted(folder: Path) -> dict[str, Path]:
    """A canary in each kind of place that a leak could be in."""
    text = f"before {CORE}place after"
    image = np.zeros((4, 40, 3), dtype=np.uint8)
    image.reshape(-1)[: len(CORE)] = np.frombuffer(CORE.encode(), dtype=np.uint8)
    plain = Image.fromarray(np.zeros_like(image))
    written = {
        "log": text.encode(),
        "UTF-16": text.encode("utf-16"),
        "upper case": text.upper().encode(),
        "hexadecimal": text.encode().hex().encode(),
        "base64 0": base64.b64encode(text.encode()),
        "base64 1": base64.b64encode(b"1" + text.encode()),
        "base64 2": base64.b64encode(b"12" + text.encode()),
        "percent": "".join(f"%{byte:02X}" for byte in text.encode()).encode(),
        "escapes": "".join(f"\\x{byte:02x}" for byte in text.encode()).encode(),
        "bytes printed": repr(list(text.encode())).encode(),
        "array printed": repr(np.frombuffer(text.encode(), dtype=np.uint8).reshape(-1, 1)).encode(),
        "JSON": json.dumps({"é": text}).encode(),
        "gzip": gzip.compress(text.encode()),
    }
    places: dict[str, Path] = {}
    for kind, data in written.items():
        places[kind] = folder / f"{kind}.txt"
        places[kind].write_bytes(data)
    for kind in ("parquet", "metadata.parquet", "npz", "text.png", "pixels.png", "zip"):
        places[kind] = folder / f"a.{kind}"
    pq.write_table(pa.table({"n": [1], "text": [[text]]}), places["parquet"], compression="zstd")
    pq.write_table(pa.table({"n": [1]}).replace_schema_metadata({"note": text}), places["metadata.parquet"])
    np.savez_compressed(places["npz"], names=np.array([text]))
    chunks = PngInfo()
    chunks.add_text("Comment", text, zip=True)
    plain.save(places["text.png"], pnginfo=chunks)
    Image.fromarray(image).save(places["pixels.png"])
    with zipfile.ZipFile(places["zip"], "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("inner.txt", text)
    places["name"] = folder / f"{CORE}name"
    places["name"].write_text("nothing")
    places["link"] = folder / "link"
    places["link"].symlink_to(f"/nowhere/{CORE}")
    return places


def test_a_planted_canary_is_found_in_every_kind_of_place(tmp_path):
    places = _planted(tmp_path)
    found = find_in_files([tmp_path])
    for kind, path in places.items():
        assert any(line.startswith(f"{path}: ") for line in found), kind
    (tmp_path / "clean").mkdir()
    (tmp_path / "clean" / "log.txt").write_text(f"{CORE[:-1]} {CORE.upper()[:-2]}")
    assert find_in_files([tmp_path / "clean"]) == []


def test_a_pickle_is_found_by_its_content(tmp_path):
    for protocol in (2, 3, 4, 5):
        (tmp_path / f"{protocol}.json").write_bytes(pickle.dumps({"a": [1, "b"]}, protocol))
    np.savez(tmp_path / "objects.npz", a=np.array([{"a": 1}], dtype=object))
    with zipfile.ZipFile(tmp_path / "weights.bin", "w") as archive:
        archive.writestr("data.pkl", b"anything")
    (tmp_path / "data.pkl").write_bytes(b"anything")
    assert len(pickles([tmp_path])) == 7
    (tmp_path / "clean").mkdir()
    np.savez(tmp_path / "clean" / "numbers.npz", a=np.arange(3), b=np.array(["text"]))
    (tmp_path / "clean" / "notes.txt").write_bytes(b"\x80\x04 a text that ends otherwise")
    assert pickles([tmp_path / "clean"]) == []
