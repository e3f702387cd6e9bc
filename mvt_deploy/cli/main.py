"""``mvt-deploy``: registers the verbs and turns a user's mistake into one sentence and exit code 2."""

from __future__ import annotations

import os
import sys
from typing import Annotated, NoReturn

import typer

from ..errors import UserError
from ..process import no_telemetry, one_heap
from ..version import __version__
from . import logs
from .bench import bench
from .build import build
from .calibrate import calibrate
from .demo import demo
from .doctor import doctor
from .eval import eval
from .export import export
from .extras import missing_extra
from .gate import gate
from .package import package
from .sensitivity import sensitivity
from .track import track
from .train import train

app = typer.Typer(
    name="mvt-deploy",
    help="Export, check, measure and run MVT, the Mobile Vision Transformer visual tracker.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f"mvt-deploy {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool,
        typer.Option("--version", help="Print the version and exit.", callback=_print_version, is_eager=True),
    ] = False,
) -> None:
    """Export, check, measure and run MVT, the Mobile Vision Transformer visual tracker."""


for verb, summary in (
    (export, "Export a checkpoint as a bundle of checked ONNX graphs."),
    (calibrate, "Record a calibration set for int8 from your own clips."),
    (build, "Compile a bundle's graphs into TensorRT engines."),
    (track, "Follow targets through a video, a camera or a stream."),
    (bench, "Measure latency stage by stage, with ratios."),
    (demo, "Render a clip with known ground truth and track it."),
    (package, "Package a bundle for serving many streams."),
    (doctor, "Say what works on this machine, and what to install."),
    (eval, "Run a bundle over a benchmark, with the papers' figures."),
    (gate, "Judge a precision by its trajectories against fp32."),
    (sensitivity, "Rank layers by the error that int8 adds in each."),
    (train, "Train the network."),
):
    app.command(verb.__name__, short_help=summary)(verb)


def run() -> None:
    """Entry point of the console script."""
    one_heap()  # before there are threads
    no_telemetry()  # before ONNX Runtime is imported
    for name in ("stdout", "stderr"):  # closed by whoever started the program
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115 (for as long as the program runs)
    try:
        app(prog_name="mvt-deploy")
    except UserError as error:
        logs.error(error)
        sys.exit(error.exit_code)
    except ModuleNotFoundError as error:
        refusal = missing_extra(error, next((word for word in sys.argv[1:] if not word.startswith("-")), ""))
        if refusal is None:
            _crash()
        logs.error(refusal)
        sys.exit(refusal.exit_code)
    except KeyboardInterrupt:
        sys.exit(130)
    except BrokenPipeError:  # the reader of our stdout went away: nothing to report, nothing to finish
        sys.stderr.close()
        sys.exit(0)
    except Exception:
        _crash()


def _crash() -> NoReturn:
    """Report the exception in flight, a fault of the program: as a traceback, or in the log that machines read."""
    if not logs.in_json():
        raise
    logs.crash()
    sys.exit(1)
