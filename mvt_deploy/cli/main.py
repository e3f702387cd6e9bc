"""``mvt-deploy``: registers the verbs and turns a user's mistake into one sentence and exit code 2."""

from __future__ import annotations

import os
import sys

import typer

from ..errors import UserError
from . import logs
from .bench import bench
from .build import build
from .calibrate import calibrate
from .demo import demo
from .doctor import doctor
from .eval import eval
from .export import export
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
app.command("export")(export)
app.command("calibrate")(calibrate)
app.command("build")(build)
app.command("track")(track)
app.command("bench")(bench)
app.command("demo")(demo)
app.command("package")(package)
app.command("doctor")(doctor)
app.command("eval")(eval)
app.command("gate")(gate)
app.command("sensitivity")(sensitivity)
app.command("train")(train)


def run() -> None:
    """Entry point of the console script."""
    for name in ("stdout", "stderr"):  # closed by whoever started the program
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115 (for as long as the program runs)
    try:
        app()
    except UserError as error:
        logs.error(error)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        sys.exit(130)
    except BrokenPipeError:  # the reader of our stdout went away: nothing to report, nothing to finish
        sys.stderr.close()
        sys.exit(0)
    except Exception:
        if not logs.in_json():
            raise
        logs.crash()
        sys.exit(1)
