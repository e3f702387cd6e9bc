"""What the gate tolerates: how much AO a candidate may lose against fp32 at the default search size."""

from __future__ import annotations

from ...bundle import SearchSize

LIMITS = {"fp32": 0.002, "fp16": 0.002, "bf16": 0.01, "int8": 0.01}
"""Largest drop of AO (0..1) against fp32 that passes, by precision."""

SIDE_LIMIT = 0.005
"""Largest drop of AO that passes at another side than the default, unless the precision's is larger."""
AUTO_LIMIT = 0.003
"""Largest drop of AO that passes where the tracker chooses the side, unless the precision's is larger."""


def limit_for(precision: str, search_size: SearchSize = None) -> float:
    """Return the largest drop of AO that passes against fp32 at the default side.

    Args:
        precision: The candidate's precision.
        search_size: Side of its search crops; None is the default side, ``"auto"`` the tracker's choice.
    """
    by_side = 0.0 if search_size is None else AUTO_LIMIT if search_size == "auto" else SIDE_LIMIT
    return max(LIMITS[precision], by_side)
