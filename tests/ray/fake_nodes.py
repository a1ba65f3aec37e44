"""Ray's fake nodes: each is a raylet on this machine that the autoscaler starts. Some kinds never come."""

from pathlib import Path
from unittest import mock

from ray import _raylet
from ray._private.parameter import RayParams
from ray.autoscaler._private.fake_multi_node.node_provider import FakeMultiNodeProvider
from ray.autoscaler.tags import NODE_KIND_WORKER, TAG_RAY_NODE_KIND, TAG_RAY_USER_NODE_TYPE

from tests.ray.head import free_port
from tests.ray.waiting import until

PORTS = ("dashboard_agent_listen_port", "metrics_agent_port", "metrics_export_port", "runtime_env_agent_port")


class FakeNodes(FakeMultiNodeProvider):
    """The file `never_come` of the provider's settings has the kinds of which a node is granted and never joins."""

    def __init__(self, settings, cluster_name):
        super().__init__(settings, cluster_name)
        self._never_come = Path(settings["never_come"])
        # A head that takes longer to come up than a node may would be given up.
        gcs = _raylet.GcsClient(address=settings["gcs_address"])
        (head,) = until(gcs.get_all_node_info).values()
        self._session_folder = head.session_dir

    def _create_node_with_resources_and_labels(self, node_config, tags, count, resources, labels):
        with self.lock:
            if tags[TAG_RAY_USER_NODE_TYPE] in self._never_come.read_text().split():
                self._nodes[self._next_hex_node_id()] = {"tags": tags | {TAG_RAY_NODE_KIND: NODE_KIND_WORKER}}
                return
            # Its raylet would wait for its agents to say which ports they took, and die of it on a busy machine.
            ports = {name: free_port() for name in PORTS}
            with mock.patch("ray._private.parameter.RayParams", lambda **settings: RayParams(**settings | ports)):
                for name, port in ports.items():
                    _raylet.persist_port(self._session_folder, self._id_of_next(), name, port)
                super()._create_node_with_resources_and_labels(node_config, tags, count, resources, labels)

    def _id_of_next(self):
        found = self._next_hex_node_id()
        self._next_node_id -= 1
        return found

    def _terminate_node(self, node):
        if "node" in node:
            super()._terminate_node(node)
