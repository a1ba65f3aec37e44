#!/usr/bin/env bash
# pyarrow 26.0.1: an Arrow IPC *stream* whose file ends between two messages, as after an interrupted copy, reads without
# an error: the reader takes the end of the file for the end of the stream, also where the end-of-stream marker that the
# writer wrote is gone. Whoever needs to know has to look for the marker (ff ff ff ff 00 00 00 00) himself.
#
# Seen: 3 batches written, the file cut after the first one: 1 batch is read, no error.
set -euo pipefail
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" install --quiet pyarrow==26.0.1
"$work/env/bin/python" - "$work" <<'PY'
import sys
import pyarrow as pa

path = f"{sys.argv[1]}/table.arrow"
batch = pa.record_batch({"x": pa.array(range(100))})
ends = []
with pa.OSFile(path, "wb") as file, pa.ipc.new_stream(file, batch.schema) as stream:
    for _ in range(3):
        stream.write_batch(batch)
        ends.append(file.tell())
whole = open(path, "rb").read()
assert whole.endswith(b"\xff\xff\xff\xff\0\0\0\0")
open(path, "wb").write(whole[: ends[0]])
with pa.ipc.open_stream(path) as stream:
    read = list(stream)
print(f"3 batches written, file cut after the first: {len(read)} read, no error")
assert len(read) == 1
PY
