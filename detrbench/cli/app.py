"""The command `detrbench`: which commands there are, in the order a newcomer meets them."""

from __future__ import annotations

from typing import Annotated

import typer

from detrbench.cli.claims import claims
from detrbench.cli.diff import diff
from detrbench.cli.explain import explain
from detrbench.cli.gate import gate
from detrbench.cli.guidelines import guidelines
from detrbench.cli.history import history
from detrbench.cli.latency import latency
from detrbench.cli.lint import lint
from detrbench.cli.models import models
from detrbench.cli.predict import predict
from detrbench.cli.probe import probe
from detrbench.cli.profile import profile
from detrbench.cli.reconcile import reconcile
from detrbench.cli.report import report
from detrbench.cli.run import run
from detrbench.cli.selfcheck import selfcheck
from detrbench.core.version import __version__

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
  4    done, but a row failed; gate: invalid, something cannot be compared
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
) -> None:
    """Parameters, FLOPs, memory access and latency of RT-DETR detectors, counted once and measured
    honestly."""


app.command()(models)
app.command()(profile)
app.command()(latency)
app.command()(run)
app.command()(explain)
app.command()(reconcile)
app.command()(lint)
app.command()(guidelines)
app.command()(claims)
app.command()(selfcheck)
app.command()(probe)
app.command()(predict)
app.command()(report)
app.command()(diff)
app.command()(history)
app.command()(gate)
