"""A driver that is killed: `crash_driver.py ROOT PLACE WHERE` opens the gate, runs its generations, and kills itself.

WHERE is the name of one of the gate's fault points, or of an entry that is just being appended to the ledger:
`torn KIND` is before it is durable (half a line in a file, nothing in a bucket), `durable KIND` between that and the
return of `append`. `#N` after either means the N-th time; `never` runs to the end.
"""

from __future__ import annotations

import os
import signal
import sys
from collections import Counter
from pathlib import Path
from typing import Any

from tests import warm

ROOT = Path(__file__).parents[3]


def die(root: Path, place: str | Path, where: str) -> None:
    """Run such a driver in a process of its own. AssertionError if it ends in another way than by killing itself."""
    done = warm.run("tests.unit.dp.crash_driver", str(root), str(place), where, cwd=ROOT, timeout=60)
    assert done.returncode == -signal.SIGKILL, f"{done.args}: exit code {done.returncode}\n{done.stderr}"


class Killer:
    def __init__(self, where: str) -> None:
        self.where, _, time = where.partition("#")
        self.time = int(time or 1)
        self.times: Counter[str] = Counter()

    def __call__(self, point: str) -> None:
        """Die if this is the place."""
        self.times[point] += 1
        if point == self.where and self.times[point] == self.time:
            os.kill(os.getpid(), signal.SIGKILL)


def kill_in_append(killer: Killer) -> None:
    """Put the places `torn KIND` and `durable KIND` into both kinds of chain."""
    from spti_ray.dp import file_chain, object_chain
    from spti_ray.dp.entries import decode

    write, fsync, create = file_chain._write, os.fsync, object_chain.create
    kind = last = ""

    def write_in_two(fd: int, data: bytes, offset: int) -> None:
        nonlocal kind
        kind = decode(data.strip()).kind
        half = len(data) // 2
        write(fd, data[:half], offset)
        killer(f"torn {kind}")
        write(fd, data[half:], offset + half)

    def fsync_and_die(fd: int) -> None:
        nonlocal kind
        fsync(fd)
        if kind:  # the sync of a line: others come before any line is written, or after this one
            killer(f"durable {kind}")
            kind = ""

    def create_and_die(store: Any, name: str, data: bytes) -> str:
        nonlocal last
        if name == last:
            return create(store, name, data)  # the chain tries whether the store refuses a second one
        kind, last = decode(data).kind, name
        killer(f"torn {kind}")
        tag = create(store, name, data)
        killer(f"durable {kind}")
        return tag

    file_chain._write, os.fsync, object_chain.create = write_in_two, fsync_and_die, create_and_die


def main(root: str, place: str, where: str) -> None:
    from spti_ray.dp import budget
    from tests.unit.dp.bench import Bench, run_generations
    from tests.unit.dp.buckets import use_buckets

    # What a charge costs is not at issue here.
    budget.lifetime_epsilon = lambda terms, delta: float(sum(count for _, count in terms))
    use_buckets()
    killer = Killer(where)
    bench = Bench(Path(root), place)
    kill_in_append(killer)
    run_generations(bench.opened(fault=killer))


if __name__ == "__main__":
    main(*sys.argv[1:])
