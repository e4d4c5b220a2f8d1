"""Options that commands share, and the checks that need no torch: a typo is said at once.

What a setting is, its help and its values are in `detrbench.reports.settings`; here it gets a flag.
What the flags of settings say is read from a command's context, by its parameters' flags.
"""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from detrbench.core.errors import UsageError, nearest
from detrbench.core.files import is_ordinary
from detrbench.core.units import show_either
from detrbench.render import FORMATS
from detrbench.reports.settings import SETTINGS
from detrbench.runtimes import RUNTIMES

if TYPE_CHECKING:
    from detrbench.reports.case import Case


MOST_PROCESSES, MOST_ROUNDS = 1_000, 1_000_000


def taking(metavar: str, help: str, *flags: str, **more: Any) -> Any:
    """An option that takes a value; its flag is its parameter's name, where none is given."""
    return typer.Option(*flags, metavar=metavar, help=help, **more)


def _flag(key: str, known: str = "") -> Any:
    """The option of a setting, as a text that `cases` reads: one value, or several with commas."""
    one = SETTINGS[key]
    help = f"{one.help.removesuffix('.')}: {known}" if known else one.help
    default = one.default[0] if isinstance(one.default, tuple) else one.default
    usual = "" if default is None or "[default" in one.help else f"  [default: {default}]"
    return taking(one.metavar, f"{help}{usual}", one.flag)


def _switch(key: str, *flags: str) -> Any:
    """The option of a setting that is on or off."""
    one = SETTINGS[key]
    return typer.Option(*(flags or (one.flag,)), help=one.help, show_default=False)


def _check_output(option: typer.CallbackParam, path: Path | None) -> Path | None:
    """`path`, if a file can be written there: said before the work, not after it."""
    if path is None:
        return None
    if path.is_dir():
        problem, hint = f"{path} is a folder", "Name a file in it."
    elif not path.parent.is_dir():
        problem, hint = f"the folder {path.parent} is not there", "Create it first."
    elif not os.access(path if path.exists() else path.parent, os.W_OK):
        problem, hint = f"{path} may not be written", "Choose a folder of your own."
    else:
        return path
    raise UsageError(problem, where=option.opts[0], hint=hint)


def file_to_write(help: str, *flags: str) -> Any:
    """The option of a file that a command writes."""
    return taking("FILE", help, *flags, callback=_check_output)


def check_format(option: typer.CallbackParam, format: str | None) -> str | None:
    """`format`, if there is such a one, or None."""
    return None if format is None else check_choice(format, FORMATS, flag=option.opts[0])


def format_to_print(usual: str) -> Any:
    """The option of a format, and what it is where none is given."""
    return taking("FORMAT", f"{show_either(FORMATS)}.  [default: {usual}]", callback=check_format)


ImageSize = Annotated[str | None, _flag("imgsz")]
Batch = Annotated[str | None, _flag("batch")]
Classes = Annotated[str | None, _flag("nc")]
Scale = Annotated[str | None, _flag("scale")]
Device = Annotated[str | None, _flag("device")]
Runtime = Annotated[str | None, _flag("runtime", f"{show_either(RUNTIMES)}.")]
Dtype = Annotated[str | None, _flag("dtype")]
MemoryFormat = Annotated[str | None, _flag("memory_format")]
Threads = Annotated[str | None, _flag("threads")]
Seed = Annotated[str | None, _flag("seed")]
Blocks = Annotated[str | None, _flag("blocks")]
BackboneWeights = Annotated[str | None, _flag("backbone_weights")]
Weights = Annotated[str | None, _flag("weights")]
Trust = Annotated[bool, _switch("trust")]
Fuse = Annotated[bool, _switch("fused")]
Stages = Annotated[bool, _switch("stages")]
ColdL2 = Annotated[bool, _switch("cold_l2")]
Tf32 = Annotated[bool | None, _switch("tf32", "--tf32/--no-tf32")]
CudnnBenchmark = Annotated[
    bool | None, _switch("cudnn_benchmark", "--cudnn-benchmark/--no-cudnn-benchmark")
]
Format = Annotated[str | None, format_to_print("from -o's suffix, else table")]
Budget = Annotated[float, taking("SECONDS", "For everything.")]
NoCache = Annotated[
    bool,
    typer.Option(
        "--no-cache",
        help="Export the graphs of other runtimes anew, and keep none.",
        show_default=False,
    ),
]
Resume = Annotated[
    Path | None,
    taking(
        "FOLDER",
        "Go on with a run: alone, where it was cut short, or with --budget, of seconds more.",
    ),
]
Output = Annotated[Path | None, file_to_write("Write to FILE instead of stdout.", "-o", "--output")]

MODEL_HELP = (
    "A name of `detrbench models`, the path of a model file, a folder of transformers, or a "
    "callable, which is run: FILE.py:NAME, PACKAGE.MODULE:NAME. Behind an @, settings of its own: "
    "rtdetr-l@runtime=compile"
)


def cases(
    references: Sequence[str], context: typer.Context, but: Collection[str] = ()
) -> tuple[Case, ...]:
    """Every reference under every combination of what the command's flags say, `but` for those of
    some settings. Raises UsageError as
    `make_cases`, for an execution that no runtime or device has, and, from a command that executes,
    for a device that is not there."""
    from detrbench.models.sources import source_of
    from detrbench.reports.parse_cases import make_cases
    from detrbench.runtimes import check_execution
    from detrbench.runtimes.devices import check_machine

    told = {
        key: _values(key, said)
        for key, said in _told(context).items()
        if said is not None and key not in but
    }
    executes = "device" in _told(context) and not context.params.get("counts_only")
    made = make_cases(references, told)
    for case in made:
        check_execution(case.execution, where=case.name if "@" in case.name else None)
        if executes:
            check_machine(case.execution)
        source_of(case.model.reference).check(case.model, case.execution.imgsz)
    return made


def case(reference: str, context: typer.Context) -> Case:
    """The one case of a command that takes one. Raises UsageError also for several values."""
    for key, said in _told(context).items():
        if isinstance(said, str) and len(_texts(key, said)) > 1:
            raise UsageError(
                f"{said} are several values, and this command takes one",
                where=SETTINGS[key].flag,
                hint="Give one of them.",
            )
    return cases([reference], context)[0]


def values(context: typer.Context) -> dict[str, Any]:
    """What the command's flags of settings say, or the usual values; for commands that make no
    cases. Raises UsageError where one cannot be read, there are several, or the device is not
    there."""
    from detrbench.reports.parse_cases import parse_setting
    from detrbench.runtimes.devices import check_present, check_threads

    told = {
        key: SETTINGS[key].default if said is None else parse_setting(key, said, SETTINGS[key].flag)
        for key, said in _told(context).items()
    }
    check_present(told.get("device") or "cpu")
    check_threads(told.get("threads"))
    return told


def _told(context: typer.Context) -> dict[str, Any]:
    """Key of a setting -> what its flag says, None where it was not given; in the command's order,
    and not in the one they were typed in."""
    keys = {one.flag: key for key, one in SETTINGS.items() if one.of != "reading"}
    flags = {one.opts[0]: context.params[one.name or ""] for one in context.command.params}
    return {keys[flag]: said for flag, said in flags.items() if flag in keys}


def _values(key: str, said: str | bool) -> list[Any]:
    from detrbench.reports.parse_cases import parse_setting

    if isinstance(said, bool):
        return [said]
    return [parse_setting(key, text.strip(), SETTINGS[key].flag) for text in _texts(key, said)]


def _texts(key: str, said: str) -> list[str]:
    """The values that a flag gives; a path may have commas in it."""
    return [said] if SETTINGS[key].is_file else said.split(",")


def check_choice(value: str, known: Collection[str], *, flag: str) -> str:
    """`value`, if it is one of `known`. Raises UsageError with the nearest where it is not."""
    if value not in known:
        raise UsageError(f"unknown value {value!r}", where=flag, hint=nearest(value, known))
    return value


def check_file(path: Path | None, *, flag: str) -> None:
    """Refuse a path, where one is given, that is not a file that can be read."""
    if path is not None and not (is_ordinary(path) and os.access(path, os.R_OK)):
        raise UsageError(
            f"{path} is not a file that can be read", where=flag, hint="Check the path."
        )


def given(context: typer.Context) -> list[str]:
    """The parameters of the command that are not left to their defaults."""
    sources = {name: context.get_parameter_source(name) for name in context.params}
    return [
        name for name, source in sources.items() if source is not None and source.name != "DEFAULT"
    ]


def check_alone(context: typer.Context, name: str, why: str, *free: str) -> None:
    """Refuse what would be ignored beside the option `name`; --format, -o and `free` are not."""
    others = [each for each in given(context) if each not in {name, "format", "output", *free}]
    if others:
        flag = next(one.opts[0] for one in context.command.params if one.name == name)
        raise UsageError(
            f"{', '.join(others)} cannot be given again",
            where=flag,
            hint=f"{why}; give {flag} alone.",
        )


def command_line() -> str:
    """The command as typed, for a report's provenance; the home folder, and so its name, as ~."""
    home = os.environ.get("HOME") or os.environ.get("USERPROFILE") or ""
    words = [shlex.quote(word) for word in sys.argv[1:]]
    if home.strip(os.sep):
        words = [word.replace(home + os.sep, f"~{os.sep}") for word in words]
    return " ".join(["detrbench", *words])
