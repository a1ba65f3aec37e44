"""matplotlib, imported so that it leaves nothing in the user's HOME.

By itself it makes folders there on import, or, where HOME can't be written, prints two warnings over the progress
display. The user's matplotlibrc is not read either, so equal inputs give equal plots.
"""

from __future__ import annotations

import os
import tempfile
from unittest.mock import patch

with tempfile.TemporaryDirectory(prefix="spti-") as _folder, patch.dict(os.environ, {"MPLCONFIGDIR": _folder}):
    import matplotlib
    import matplotlib.font_manager  # makes its list of fonts now, which takes a second
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator, NullFormatter, PercentFormatter, StrMethodFormatter

__all__ = [
    "Axes",
    "Figure",
    "MaxNLocator",
    "NullFormatter",
    "PercentFormatter",
    "StrMethodFormatter",
    "matplotlib",
]
