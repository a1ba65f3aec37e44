"""On which kind of GPU an actor is that is started beside what a run has reserved."""

from __future__ import annotations

import time
from typing import Any

from spti_ray.runtime.placement.bundles import Bundle
from spti_ray.runtime.placement.fit import best_free_kinds
from spti_ray.runtime.ray.cluster import WISH_S, free_nodes


class Wishes:
    """Chooses for each actor the best of its kinds of GPU of which one is free. If none is, any of them will do.

    Not by naming all kinds to Ray in their order: the autoscaler would ask for the first one for ever, also where no
    node of it comes (ray 2.60, findings/ray-autoscaler-first-kind-for-ever.sh). Only among kinds that will do equally
    does it choose by the `priority` of its kinds of node, and put one that did not come behind the others.
    """

    def __init__(self) -> None:
        self._asked: list[tuple[float, Bundle]] = []
        """Actors that may not have taken what they found free, and when they were asked for."""

    def options(self, bundle: Bundle) -> dict[str, Any]:
        """Ray's options for where the bundle's actor may be."""
        will_do = {"label_selector": bundle.any_node()} if bundle.any_node() else {}
        if len(bundle.accelerators) < 2:
            return will_do
        now = time.monotonic()
        self._asked = [(then, asked) for then, asked in self._asked if now - then < WISH_S] + [(now, bundle)]
        best = best_free_kinds([asked for _, asked in self._asked], free_nodes())[-1]
        if best == bundle:
            return will_do
        return {"label_selector": best.any_node(), "fallback_strategy": [will_do]}
