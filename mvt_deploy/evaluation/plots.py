"""Success, precision and failure plots (matplotlib, extra ``eval``)."""

from __future__ import annotations

import io
import textwrap
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from ..errors import MissingExtra
from ..files import write_whole
from .attributes import NAMES
from .metrics import SequenceScore, by_attribute, curve, figures
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
_INCH_PER_CHARACTER = 0.1  # of a title, at its size; a little generous


def can_plot() -> bool:
    """Tell whether matplotlib is installed."""
    return find_spec("matplotlib") is not None


def write_plots(runs: Mapping[str, list[SequenceScore]], title: str, folder: Path, derived: bool = False) -> list[Path]:
    """Write ``success.png``, ``precision.png``, ``normalised.png`` and, with attributes, ``failure_by_attribute.png``.

    A run has the same colour in every plot.

    Args:
        runs: Scores by label, of one or several runs on the same dataset.
        title: Name of the dataset.
        folder: Where the plots go.
        derived: True if attributes were computed from the boxes, which the plot then says.

    Returns:
        The files written.

    Raises:
        MissingExtra: matplotlib is not installed.
        OSError: A file cannot be written.
    """
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MissingExtra("plots", "eval", error.name or "matplotlib") from error

    def save(name: str, draw: Any, heading: str, width: float = 6.0) -> Path:
        figure = Figure(figsize=(width, 4.5), layout="constrained")
        FigureCanvasAgg(figure)
        axes = figure.subplots()
        draw(axes)
        figure.suptitle("\n".join(textwrap.wrap(heading, round(width / _INCH_PER_CHARACTER))), fontsize="large")
        stream = io.BytesIO()
        figure.savefig(stream, format="png", dpi=150)
        write_whole(folder / name, stream.getvalue())
        return folder / name

    colours = {label: f"C{number % 10}" for number, label in enumerate(runs)}
    written = []
    for name, (heading, *_) in _CURVES.items():
        written.append(save(f"{name}.png", lambda axes, n=name: _curves(axes, n, runs, colours), f"{heading}, {title}"))
    attributes = sorted({name for scores in runs.values() for name in by_attribute(scores)})
    if attributes:
        width = max(6.0, 0.5 * len(attributes) * len(runs))
        heading = f"Failure rate by attribute, {title}" + (" (attributes computed from the boxes)" if derived else "")
        draw = lambda axes: _failures(axes, attributes, runs, colours)  # noqa: E731
        written.append(save("failure_by_attribute.png", draw, heading, width))
    return written


def _curves(axes: Any, name: str, runs: Mapping[str, list[SequenceScore]], colours: Mapping[str, str]) -> None:
    _, x_label, y_label, key, short = _CURVES[name]
    for label, scores in sorted(runs.items(), key=lambda run: -figures(run[1])[key]):  # the best first in the legend
        legend = f"{label}: {short} {figures(scores)[key]:.3f}"
        axes.plot(THRESHOLDS[name], curve(scores, name), color=colours[label], label=legend)
    axes.set(xlabel=x_label, ylabel=y_label, ylim=(0, 1.02))
    axes.set_xlim(THRESHOLDS[name][0], THRESHOLDS[name][-1])
    axes.grid(alpha=0.3)
    axes.legend(fontsize="small")


def _failures(
    axes: Any, attributes: list[str], runs: Mapping[str, list[SequenceScore]], colours: Mapping[str, str]
) -> None:
    """The paper's robustness plot: failure rate by attribute, one bar per run, each with its value above it."""
    width = 0.8 / len(runs)
    highest = 0.0
    for offset, (label, scores) in enumerate(runs.items()):
        groups = by_attribute(scores)
        rates = [figures(groups.get(name, []))["failure_rate"] for name in attributes]
        places = [i + offset * width for i in range(len(attributes))]
        bars = axes.bar(places, rates, width, label=label, color=colours[label])
        axes.bar_label(bars, fmt="%.3f", fontsize="x-small", padding=1, rotation=90 if len(runs) > 2 else 0)
        highest = max([highest, *(rate for rate in rates if rate == rate)])
    axes.set_xticks([i + 0.4 - width / 2 for i in range(len(attributes))])
    labels = [f"{NAMES[name]} ({_count(runs, name)})" for name in attributes]
    axes.set_xticklabels(labels, rotation=35, ha="right", rotation_mode="anchor", fontsize="small")
    axes.set(ylabel="share of frames with IoU 0")
    axes.set_ylim(0, max(highest * (1.2 + 0.1 * len(runs)), 0.01))  # room for the legend above the bars
    if highest == 0:
        axes.text(0.5, 0.6, "no frame has IoU 0", transform=axes.transAxes, ha="center", color="0.4")
    axes.grid(alpha=0.3, axis="y")
    axes.set_axisbelow(True)
    axes.legend(fontsize="small", loc="upper right")


def _count(runs: Mapping[str, list[SequenceScore]], attribute: str) -> int:
    """Number of sequences with an attribute (the runs are on the same dataset)."""
    return max(len(by_attribute(scores).get(attribute, [])) for scores in runs.values())
