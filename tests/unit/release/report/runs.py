"""A finished run whose report can be made: folders and files as a run leaves them, without a run."""

import io

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import yaml
from PIL import Image

from spti_ray.config import Config
from spti_ray.config.identity import resolved
from spti_ray.dp import artifact
from spti_ray.public.release import write_release
from spti_ray.types import Candidate, ReleaseItem

EVIL = '<script>alert("x")</script><img src=x onerror=alert(1)> & $x_1$ "quoted"'
MODELS = {"renderer": {"kind": "diffusers", "model": "org/sd<b>", "revision": "abc2"}}
CERTIFICATE = {
    "format": "1",
    "unit": "record",
    "epsilon": 1.0,
    "delta": 1e-5,
    "mechanism": {"name": "discrete Gaussian", "sigma": 2.0},
    "dataset": {"id": "d", "lifetime_epsilon": 4.0, "lifetime_epsilon_spent": 1.0},
    "attacker": {"in_words": "At most 10.7 % better than guessing."},
    "not_protected": ["the <b>label</b> list"],
    "ledger": {"head": "f" * 64, "verify": "spti verify x"},
    "something_new": {"deep": [{"a": 1}, "b"]},
}
SIGMA = 2.0


def png(shade, size=(24, 24)):
    buffer = io.BytesIO()
    Image.new("RGB", size, (shade % 256, 90, 90)).save(buffer, "PNG")
    return buffer.getvalue()


def write_histogram(folder, number, ids, counts, slot=None):
    slot = number if slot is None else slot
    label = artifact.Metadata("r1", number, slot, "c" * 64, SIGMA, 1, "opendp", True, "0")
    artifact.write(folder / "generations", label, tuple(ids), np.array(counts, dtype=np.int64))


def make_run(
    folder,
    certificate=CERTIFICATE,
    num_candidates=8,
    renders=True,
    labels=("all",),
    images=4,
    size=(24, 24),
    models=MODELS,
):
    """Two generations; generation 1 keeps half of generation 0 and adds a child of each survivor."""
    release = folder / "release"
    (release / "images").mkdir(parents=True)
    evolution = {"generations": 2, "candidates": num_candidates}
    if labels != ("all",):
        evolution["labels"] = [{"name": label} for label in labels]
    config = Config.model_validate(
        {
            "data": {"path": "/hospital/patients"},
            "dataset": {"id": "d"},
            "privacy": {"epsilon": 1.0, "delta": 1e-5},
            "evolution": evolution,
            "prompts": {"domain": "things"},
            "release": {"images": images},
            "runtime": {
                "address": "ray://10.1.2.3:10001",
                "engines": {"writer": {"kind": "openai", "options": {"api_key": "sk-canary", "max_tokens": 9}}},
            },
            "title": f"Title {EVIL}",
        }
    )
    run = {"run": "r1", "config_sha256": "ab" * 32, "code_version": "0", "seed": 0, "host": "canary-host"}
    run["config"] = resolved(config)
    (folder / "run.yaml").write_text(yaml.safe_dump(run))
    (folder / "internal").mkdir()
    (folder / "internal" / "votes.txt").write_text("canary-of-internal")
    first = [
        Candidate(f"g00-{i:05d}", f"a red thing {i} {EVIL if i == 0 else ''}", labels[i % len(labels)], 0)
        for i in range(num_candidates)
    ]
    kept = first[: num_candidates // 2]
    children = [
        Candidate(f"g01-{i:05d}", f"a blue thing {i}", parent.label, 1, parent.id, "rephrase" if i % 2 else "fill")
        for i, parent in enumerate(kept)
    ]
    for number, (population, new) in enumerate([(first, first), (kept + children, children)]):
        where = folder / "generations" / f"{number:02d}"
        where.mkdir(parents=True)
        rows = [vars(candidate) | {"embedding_image": [0.5]} for candidate in population]
        pq.write_table(pa.Table.from_pylist(rows), where / "candidates.parquet")
        if renders:
            names = [candidate.id for candidate in new]
            table = {
                "candidate_id": names * 2,
                "variant": [1] * len(names) + [0] * len(names),
                "seed": [0] * 2 * len(names),
                "png": [png(200, size)] * len(names) + [png(i, size) for i in range(len(names))],
            }
            pq.write_table(pa.table(table), where / "renders.parquet")
        counts = [60 - 5 * i if i < 8 else -1 for i in range(len(population))]
        write_histogram(folder, number, [c.id for c in population], counts)
        pq.write_table(pa.table({"id": [c.id for c in population[: num_candidates // 2]]}), where / "selected.parquet")
    items = []
    final = (kept + children)[::-1]
    for index in range(images):
        candidate = final[index % len(final)]
        file = f"images/{index:05d}.png"
        (release / file).write_bytes(png(index, size))
        items.append(ReleaseItem(file, candidate.text, candidate.label, 0, candidate.generation, candidate.id, None, 0))
    write_release(release, config, items, models, certificate)
    return folder
