#!/usr/bin/env bash
# Linux, CPython's subprocess: in a program that was just started, getrusage(RUSAGE_SELF).ru_maxrss is no less than the
# peak of the process that started it, since exec keeps the number. So peaks that several children report by it are all
# the parent's, where that is larger, and a comparison of them can't fail. VmHWM in /proc/self/status starts anew.
#
# Seen (Linux 6.18, Python 3.11): of a child that does nothing, started by a parent of 300 MB: ru_maxrss above 300 MB,
# VmHWM below 50 MB; with subprocess's fork as with its vfork.
set -euo pipefail
python3 - <<'PY'
import platform, subprocess, sys

held = bytearray(300 << 20)
child = """
import resource
told = [line for line in open("/proc/self/status") if line.startswith("VmHWM")][0]
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024, int(told.split()[1]) // 1024)
"""
for how, options in (("vfork", {}), ("fork", {"preexec_fn": lambda: None})):
    done = subprocess.run([sys.executable, "-c", child], capture_output=True, text=True, check=True, **options)
    rusage, status = map(int, done.stdout.split())
    print(f"Linux {platform.release()}, Python {platform.python_version()}, {how}: ru_maxrss {rusage} MB, VmHWM {status} MB")
    assert rusage > 300 and status < 50
PY
