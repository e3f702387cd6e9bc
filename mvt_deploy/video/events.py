"""What happens in a run, as log records: targets lost and found, frames dropped, sources gone and back.

They go to the logger ``mvt_deploy.events`` with plain values in the record's ``fields``, for logs that machines read.
"""

from __future__ import annotations

import logging
from typing import Any

log = logging.getLogger("mvt_deploy.events")


def fields(**values: Any) -> dict[str, dict[str, Any]]:
    """Values of a record, as ``extra`` wants them."""
    return {"fields": values}
