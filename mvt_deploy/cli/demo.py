"""``mvt-deploy demo``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .options import BackendName, Model, open_model, say


def demo(
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder of the clip and the result.")] = Path("demo"),
    model: Model = None,
    backend: BackendName = "ort",
) -> None:
    """Render a clip with known ground truth, track it, and print the AO reached."""
    from ..tracker import Tracker
    from ..video import demo as clip
    from ..video.session import Outputs, track_source
    from ..video.sources import open_source
    from ..video.targets import choose_targets

    path = clip.render(output / "clip.mp4")
    say(f"rendered {path} and its ground truth {path.with_suffix('.txt')}")
    tracker = Tracker(open_model(model, backend))
    source = open_source(path)
    outputs = Outputs(video=output / "clip.tracked.mp4", results=output / "clip.results.txt")
    summary = track_source(source, choose_targets(source), tracker, outputs)
    for line in summary.lines():
        say(line)
    print(f"AO {summary.ao:.3f}")
