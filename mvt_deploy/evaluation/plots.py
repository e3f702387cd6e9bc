"""Success, precision and failure plots (matplotlib, extra ``eval``)."""

from __future__ import annotations

import io
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from ..errors import MissingExtra
from ..files import write_whole
from .attributes import NAMES
from .metrics import Score, by_attribute, curve, figures
from .report import THRESHOLDS

_CURVES = {
    "success": ("Success", "overlap threshold (IoU)", "share of frames above", "success_auc", "AUC"),
    "precision": ("Precision", "centre error threshold (pixels)", "share of frames within", "precision_20", "20 px"),
    "normalised": (
        "Normalised precision",
        "centre error threshold (share of the box)",
        "share of frames within",
        "normalised_precision_at_0.2",
        "at 0.2",
    ),
}


def can_plot() -> bool:
    """Whether matplotlib is installed."""
    return find_spec("matplotlib") is not None


def write_plots(runs: Mapping[str, list[Score]], title: str, folder: Path, derived: bool = False) -> list[Path]:
    """Write ``success.png``, ``precision.png``, ``normalised.png`` and, with attributes, ``failure_by_attribute.png``.

    Args:
        runs: label → scores of one or several runs on the same dataset.
        title: the dataset's name.
        folder: where to.
        derived: True if attributes were computed from the boxes, which the plot then says.

    Returns:
        The files written.

    Raises:
        MissingExtra: matplotlib is not installed.
    """
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MissingExtra("plots", "eval", error.name or "matplotlib") from error

    def save(name: str, draw: Any, width: float = 6.0) -> Path:
        figure = Figure(figsize=(width, 4.5), layout="constrained")
        FigureCanvasAgg(figure)
        draw(figure.subplots())
        stream = io.BytesIO()
        figure.savefig(stream, format="png", dpi=150)
        write_whole(folder / name, stream.getvalue())
        return folder / name

    written = [save(f"{name}.png", lambda axes, n=name: _curves(axes, n, runs, title)) for name in _CURVES]
    attributes = sorted({name for scores in runs.values() for name in by_attribute(scores)})
    if attributes:
        width = max(6.0, 0.5 * len(attributes) * len(runs))
        heading = title + (" (attributes computed from the boxes)" if derived else "")
        written.append(save("failure_by_attribute.png", lambda axes: _failures(axes, attributes, runs, heading), width))
    return written


def _curves(axes: Any, name: str, runs: Mapping[str, list[Score]], title: str) -> None:
    heading, x_label, y_label, key, short = _CURVES[name]
    for label, scores in sorted(runs.items(), key=lambda run: -figures(run[1])[key]):
        axes.plot(THRESHOLDS[name], curve(scores, name), label=f"{label}: {short} {figures(scores)[key]:.3f}")
    axes.set(title=f"{heading}, {title}", xlabel=x_label, ylabel=y_label, ylim=(0, 1))
    axes.set_xlim(THRESHOLDS[name][0], THRESHOLDS[name][-1])
    axes.grid(alpha=0.3)
    axes.legend(fontsize="small")


def _failures(axes: Any, attributes: list[str], runs: Mapping[str, list[Score]], title: str) -> None:
    """The paper's robustness plot: failure rate by attribute, one bar a run."""
    width = 0.8 / len(runs)
    for offset, (label, scores) in enumerate(runs.items()):
        groups = by_attribute(scores)
        rates = [figures(groups.get(name, []))["failure_rate"] for name in attributes]
        axes.bar([i + offset * width for i in range(len(attributes))], rates, width, label=label)
    axes.set_xticks([i + 0.4 - width / 2 for i in range(len(attributes))])
    axes.set_xticklabels([NAMES[name] for name in attributes], rotation=35, ha="right")
    axes.set(title=f"Failure rate by attribute, {title}", ylabel="share of frames with IoU 0")
    axes.set_ylim(bottom=0)
    axes.grid(alpha=0.3, axis="y")
    axes.legend(fontsize="small")
