"""Training MVT: the published recipe, and a preset for small budgets (needs the ``export`` extra)."""

from .config import TrainConfig, from_json, small_budget
from .discover import TrainingData, discover
from .loop import Report, train
from .losses import tracking_loss

__all__ = ["Report", "TrainConfig", "TrainingData", "discover", "from_json", "small_budget", "tracking_loss", "train"]
