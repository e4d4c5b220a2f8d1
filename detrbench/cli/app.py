"""The command `detrbench`: which commands there are."""

from __future__ import annotations

from importlib import import_module
from typing import Annotated

import typer

from detrbench.core.version import __version__

COMMANDS = (
    "models", "profile", "latency", "run", "explain", "reconcile", "lint", "guidelines", "claims",
    "selfcheck", "probe", "predict", "report", "diff", "history", "gate",
)  # fmt: skip
"""In the order a newcomer meets them; each is the function of that name in the module so called."""

# Help without rich: it opens in half the time, and reads as well in a pipe.
app = typer.Typer(
    name="detrbench",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)

EPILOG = """\b
Examples:
  detrbench models
  detrbench profile rtdetr-l shufflev2
  detrbench profile ./my-variant.yaml --by stage
  detrbench latency --device cuda
  detrbench lint shufflev2
  detrbench reconcile rtdetr-l --params 32.8M --gflops 108.0
  detrbench run article
  detrbench guidelines G1 G2
  detrbench claims --rivals run.json
  detrbench selfcheck
  detrbench report run.json --to markdown
  detrbench diff before.json after.json
  detrbench history reports
  detrbench gate run.json --baseline base.json

\b
Exit codes:
  0    done; gate: every figure is within its limit
  1    gate: a regression
  2    a usage error: arguments, files, a device that is not there
  3    gate: inconclusive
  4    done, but a row failed or is partial; gate: invalid, something cannot be compared
  70   a fault in detrbench
  130  interrupted; what was measured until then is reported
"""


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"detrbench {__version__}")
        raise typer.Exit


@app.callback(epilog=EPILOG)
def detrbench(
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Print the version and exit."
        ),
    ] = False,
    isolated: Annotated[
        bool, typer.Option("--isolated", help="Import nothing from where PYTHONPATH leads.")
    ] = False,
) -> None:
    """Parameters, FLOPs, memory access and latency of RT-DETR detectors, counted once and measured
    honestly."""


for name in COMMANDS:
    app.command()(getattr(import_module(f"detrbench.cli.{name}"), name))
