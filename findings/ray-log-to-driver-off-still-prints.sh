#!/usr/bin/env bash
# ray 2.60.0 (Linux, Python 3.11): `ray.init(log_to_driver=False, logging_level=ERROR)` keeps what workers print from the
# driver's output, but not the raylet's notice that a worker process died: some 900 characters on the driver's standard
# output, within a second or two of the loss, also when the actor restarts and the program handles the error.
#
# Seen: "(raylet) A worker died or was killed while executing a task by an unexpected system error..." on stdout.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet "ray==2.60.0"
cat > "$folder/program.py" <<'PY'
import logging, os, sys, time
import ray

@ray.remote(max_restarts=1)
class Worker:
    def say(self):
        print("words of a worker", flush=True)
        return os.getpid()

    def die(self):
        os._exit(1)

ray.init(
    address="local", num_cpus=1, include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR,
    _temp_dir=sys.argv[1],
)
worker = Worker.remote()
before = ray.get(worker.say.remote())
try:
    ray.get(worker.die.remote())
except ray.exceptions.RayActorError:
    print("the program handled the loss", flush=True)
for _ in range(60):
    try:
        assert ray.get(worker.say.remote()) != before
        break
    except ray.exceptions.RayActorError:
        time.sleep(1)
time.sleep(5)
PY
RAY_USAGE_STATS_ENABLED=0 "$folder/venv/bin/python" "$folder/program.py" "$folder/r" > "$folder/out" 2> "$folder/errors"
cut -c1-160 "$folder/out"
grep -q "the program handled the loss" "$folder/out"
! grep -q "words of a worker" "$folder/out"
grep -q "(raylet).* A worker died or was killed while executing a task" "$folder/out"
