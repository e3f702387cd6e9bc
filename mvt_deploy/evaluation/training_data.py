"""What the default checkpoint has seen of a benchmark, so that nobody takes figures over training footage for results.

The table lies beside the checkpoint (``models/training_data.json``): for each benchmark the sequences, or excerpts of
them, that the weights were trained on, and those that decided which weights ship.
"""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass, field
from pathlib import Path

from ..assets import asset
from ..bundle import Bundle, parse
from ..errors import BundleError
from .sequence import Dataset

_LISTED = 8  # names in a note before it says how many more there are


@dataclass(frozen=True, slots=True)
class SeenBenchmark:
    """Sequences of one benchmark that had a part in the making of the default checkpoint.

    Args:
        dataset: Name of the benchmark.
        format: Its format (a key of :data:`mvt_deploy.evaluation.datasets.FORMATS`), or None where there is none.
        trained_on: Names of sequences that the weights were trained on.
        chosen_by: Names of sequences that were held back from training, and by which the weights were chosen.
        unnamed: Number of further sequences that the weights were trained on and whose names are not known.
    """

    dataset: str
    format: str | None
    trained_on: list[str]
    chosen_by: list[str]
    unnamed: int = field(default=0)


def seen_benchmarks() -> list[SeenBenchmark]:
    """Read the table beside the default checkpoint.

    Raises:
        UserError: This installation lacks it.
    """
    content = json.loads(asset("training_data.json").read_text(encoding="utf-8"))
    return [parse(SeenBenchmark, row, "training_data.json") for row in content]


def exposure_notes(dataset: Dataset, bundle: Bundle) -> list[str]:
    """Say which of a dataset's sequences had a part in the making of a bundle's checkpoint.

    Args:
        dataset: The dataset that is evaluated on. Sequences of a plain folder are compared by name with those of all
            benchmarks.
        bundle: The bundle; only the default checkpoint's are known.

    Returns:
        Sentences for the report; none where the checkpoint is another one, or nothing is known to have been seen.
    """
    if not is_default_checkpoint(bundle):
        return []
    known = seen_benchmarks()
    own = [row for row in known if row.format == dataset.format]
    notes = []
    for row in own or (known if dataset.format in ("folder", "vot") else []):
        trained = _matching(dataset, row.trained_on)
        chosen = _matching(dataset, row.chosen_by)
        total = f"these {len(dataset.sequences)} sequences"
        if trained:
            notes.append(
                f"the default checkpoint was trained on {len(trained)} of {total}, or on excerpts of them "
                f"({row.dataset}: {_listed(trained)}): figures over them are better than over unseen footage."
            )
        if chosen:
            notes.append(
                f"the default checkpoint was chosen by its figures on {len(chosen)} of {total} "
                f"({row.dataset}: {_listed(chosen)})."
            )
        if row.unnamed and own:
            notes.append(
                f"the default checkpoint was also trained on excerpts of {row.unnamed} sequences of {row.dataset} "
                "whose names are not known."
            )
    if dataset.format == "got10k":
        notes.append(
            "the default checkpoint was not trained on GOT-10k's training split, and on other data: the benchmark's "
            "protocol asks for its training split alone."
        )
    return notes


def _matching(dataset: Dataset, names: list[str]) -> list[str]:
    """Names of the dataset's sequences that are listed; DAVIS adds the number of an object to the name of its clip."""
    listed = {name.lower() for name in names}
    suffix = r"-\d+$" if dataset.format == "davis" else "$^"
    found = []
    for sequence in dataset.sequences:
        name = sequence.name.lower()
        if name in listed or re.sub(suffix, "", name) in listed:
            found.append(sequence.name)
    return found


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - _LISTED} more" if len(names) > _LISTED else ""
    return ", ".join(names[:_LISTED]) + more


def is_default_checkpoint(bundle: Bundle) -> bool:
    """Tell whether a bundle was made from the checkpoint that ships with the package, by comparing their tensors."""
    try:
        return _tensors_digest(bundle.checkpoint()) == _tensors_digest(asset("mvt.safetensors"))
    except (BundleError, OSError, ValueError):  # a bundle without its checkpoint, or not of this kind
        return False


def _tensors_digest(path: Path) -> str:
    """Digest of a safetensors file's tensors: names, shapes and bytes, without the metadata in its header."""
    with open(path, "rb") as file:
        header = json.loads(file.read(int.from_bytes(file.read(8), "little")))
        header.pop("__metadata__", None)
        digest = hashlib.sha256(json.dumps(header, sort_keys=True).encode())
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
