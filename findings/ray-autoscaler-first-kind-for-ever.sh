#!/usr/bin/env bash
# ray 2.60.0 (Linux, Python 3.11), autoscaler v2: of an actor with a `label_selector` and a `fallback_strategy` it asks for
# nodes of the first, also when none of that kind came the last time and one of the second would. How recently a kind
# failed and its `priority` count only among kinds that fit the same selector, so `in(A,B)` falls back and [A, B] does not.
#
# Seen: "[A, B] after A did not come: A", "in(A,B) after A did not come: B".
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet "ray==2.60.0"
cat > "$folder/program.py" <<'PY'
import time
from ray.autoscaler.v2.instance_manager.config import NodeTypeConfig
from ray.autoscaler.v2.scheduler import ResourceDemandScheduler, SchedulingRequest
from ray.autoscaler.v2.utils import ResourceRequestUtil
from ray.core.generated.common_pb2 import LabelSelectorOperator

IN = LabelSelectorOperator.LABEL_OPERATOR_IN
kinds = {
    kind: NodeTypeConfig(
        name=kind, min_worker_nodes=0, max_worker_nodes=1, priority=priority, resources={"GPU": 1}, labels={"kind": kind}
    )
    for kind, priority in {"A": 1, "B": 0}.items()
}
asked = {
    "[A, B]": [[("kind", IN, ["A"])], [("kind", IN, ["B"])]],
    "in(A,B)": [[("kind", IN, ["A", "B"])]],
}
for name, selectors in asked.items():
    requests = ResourceRequestUtil.group_by_count([ResourceRequestUtil.make({"GPU": 1}, label_selectors=selectors)])
    reply = ResourceDemandScheduler(None).schedule(
        SchedulingRequest(
            node_type_configs=kinds,
            resource_requests=requests,
            disable_launch_config_check=True,
            cloud_resource_availabilities={"A": 0.0},
            recoverable_resource_availabilities={"A": 0.0},
        )
    )
    print(f"{name} after A did not come:", *[launch.instance_type for launch in reply.to_launch])
PY
"$folder/venv/bin/python" "$folder/program.py" | tee "$folder/out"
grep -q "^\[A, B\] after A did not come: A$" "$folder/out"
grep -q "^in(A,B) after A did not come: B$" "$folder/out"
