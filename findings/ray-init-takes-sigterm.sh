#!/usr/bin/env bash
# ray 2.60.0 (Linux, Python 3.11): in a driver, `ray.init` replaces the SIGTERM handler that the program set before, and
# says nothing. On SIGTERM the process then prints a native stack trace, the program's handler is never called, and the
# exit code is 15, not 143. Setting the handler again after `ray.init` puts it in force.
#
# Seen: set before: "SIGTERM received" on stderr, exit code 15; set again after: "ours was called", exit code 0.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet "ray==2.60.0"
cat > "$folder/program.py" <<'PY'
import logging, os, signal, sys, time

def ours(*_):
    print("ours was called", flush=True)
    os._exit(0)

signal.signal(signal.SIGTERM, ours)
import ray
ray.init(address="local", num_cpus=1, include_dashboard=False, logging_level=logging.ERROR, _temp_dir=sys.argv[2])
print("getsignal names ours:", signal.getsignal(signal.SIGTERM) is ours, flush=True)
if sys.argv[1] == "again":
    signal.signal(signal.SIGTERM, ours)
os.kill(os.getpid(), signal.SIGTERM)
time.sleep(20)
PY
export RAY_USAGE_STATS_ENABLED=0
code=0
"$folder/venv/bin/python" "$folder/program.py" once "$folder/r1" > "$folder/once" 2> "$folder/errors" || code=$?
cat "$folder/once"
echo "set before: exit code $code"
grep -q "getsignal names ours: False" "$folder/once"
! grep -q "ours was called" "$folder/once"
grep -q "SIGTERM received" "$folder/errors"
test "$code" -eq 15
"$folder/venv/bin/python" "$folder/program.py" again "$folder/r2" > "$folder/again"
cat "$folder/again"
grep -q "ours was called" "$folder/again"
echo "set again after: exit code 0"
