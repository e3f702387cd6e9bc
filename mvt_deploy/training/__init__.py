"""Training MVT: the published recipe, and a preset for small budgets (needs the ``export`` extra)."""

from .config import TrainConfig, budget_warning, from_json, small_budget
from .discover import TrainingData, discover
from .loop import train
from .losses import tracking_loss

__all__ = [
    "TrainConfig",
    "TrainingData",
    "budget_warning",
    "discover",
    "from_json",
    "small_budget",
    "tracking_loss",
    "train",
]
