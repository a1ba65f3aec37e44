"""matplotlib, without a file of its own in the user's HOME: it makes folders there as soon as it is imported.

Where HOME can't be written it would print two warnings over the progress display. Nor is a user's matplotlibrc read:
equal inputs give equal plots.
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
