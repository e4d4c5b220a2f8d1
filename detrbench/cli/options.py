"""Options that commands share, and the checks that need no torch: a typo is said at once.

What a setting is, its help and its values are in `detrbench.reports.settings`; here it gets a flag.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from detrbench.core.errors import UsageError, nearest
from detrbench.reports.settings import SETTINGS

if TYPE_CHECKING:
    from detrbench.reports.case import Case


def _flag(key: str, *more: str) -> Any:
    """The option of a setting, as a text that `cases` reads: one value, or several with commas."""
    one = SETTINGS[key]
    usual = "" if one.default is None or "[default" in one.help else f"  [default: {_shown(key)}]"
    return typer.Option(
        one.flag, *more, metavar=one.metavar, help=f"{one.help}{usual}", show_default=False
    )


def _shown(key: str) -> str:
    default = SETTINGS[key].default
    return str(default[0]) if isinstance(default, tuple) else str(default)


def _switch(key: str, *flags: str) -> Any:
    """The option of a setting that is on or off."""
    one = SETTINGS[key]
    return typer.Option(*(flags or (one.flag,)), help=one.help, show_default=False)


ImageSize = Annotated[str | None, _flag("imgsz")]
Batch = Annotated[str | None, _flag("batch")]
Classes = Annotated[str | None, _flag("nc")]
Device = Annotated[str | None, _flag("device")]
Runtime = Annotated[str | None, _flag("runtime")]
Dtype = Annotated[str | None, _flag("dtype")]
MemoryFormat = Annotated[str | None, _flag("memory_format")]
Threads = Annotated[str | None, _flag("threads")]
Seed = Annotated[str | None, _flag("seed")]
Blocks = Annotated[str | None, _flag("blocks")]
BackboneWeights = Annotated[str | None, _flag("backbone_weights")]
Fuse = Annotated[bool, _switch("fused")]
Stages = Annotated[bool, _switch("stages")]
ColdL2 = Annotated[bool, _switch("cold_l2")]
Tf32 = Annotated[bool | None, _switch("tf32", "--tf32/--no-tf32")]
CudnnBenchmark = Annotated[
    bool | None, _switch("cudnn_benchmark", "--cudnn-benchmark/--no-cudnn-benchmark")
]
Format = Annotated[
    str | None,
    typer.Option(
        "--format",
        metavar="FORMAT",
        help="table, markdown, csv, html, latex or json.  [default: from -o's suffix, else table]",
    ),
]
Output = Annotated[
    Path | None,
    typer.Option("-o", "--output", metavar="FILE", help="Write to FILE instead of stdout."),
]

MODEL_HELP = (
    "A name of `detrbench models`, the path of a model file, or a callable, which is run: "
    "FILE.py:NAME, PACKAGE.MODULE:NAME. Behind an @, settings of its own: rtdetr-l@runtime=compile"
)


def cases(references: Sequence[str], **given: str | bool | None) -> tuple[Case, ...]:
    """Every reference under every combination of what the flags say.

    Args:
        given: key of a setting -> as typed; `None` and False where it was not.

    Raises:
        UsageError: as `make_cases`, or an execution that no runtime or device has.
    """
    from detrbench.reports.references import make_cases
    from detrbench.runtimes import check_execution

    defaults = {
        key: _values(key, value)
        for key, value in given.items()
        if value is not None and value is not False
    } | {key: [False] for key in ("tf32", "cudnn_benchmark") if given.get(key) is False}
    made = make_cases(references, defaults)
    for case in made:
        check_execution(case.execution, where=case.name if "@" in case.name else None)
    return made


def case(reference: str, **given: str | bool | None) -> Case:
    """The one case of a command that takes one.

    Raises:
        UsageError: as `cases`, or a flag with several values.
    """
    several = next((key for key, value in given.items() if _is_several(key, value)), None)
    if several is not None:
        raise UsageError(
            f"{given[several]} are several values, and this command takes one",
            where=SETTINGS[several].flag,
            hint="Give one of them.",
        )
    return cases([reference], **given)[0]


def value(key: str, text: str | None) -> Any:
    """What one flag of a setting says, or the usual value; for commands that make no cases.

    Raises:
        UsageError: it cannot be read, or there are several.
    """
    from detrbench.reports.references import parse_setting

    one = SETTINGS[key]
    return one.default if text is None else parse_setting(key, text, one.flag)


def _values(key: str, value: str | bool) -> list[Any]:
    from detrbench.reports.references import parse_setting

    if isinstance(value, bool):
        return [value]
    texts = value.split(",") if _is_several(key, value) else [value]
    return [parse_setting(key, text.strip(), SETTINGS[key].flag) for text in texts]


def _is_several(key: str, value: str | bool | None) -> bool:
    return isinstance(value, str) and "," in value and not SETTINGS[key].is_file


def check_choice(value: str, known: Collection[str], *, flag: str) -> str:
    """`value`, if it is one of `known`.

    Raises:
        UsageError: it is not; the nearest is suggested.
    """
    if value not in known:
        raise UsageError(f"unknown value {value!r}", where=flag, hint=nearest(value, known))
    return value


def check_file(path: Path | None, *, flag: str) -> Path | None:
    """`path`, if it is a file that can be read, or None.

    Raises:
        UsageError: it is not.
    """
    if path is not None and not (path.is_file() and os.access(path, os.R_OK)):
        raise UsageError(
            f"{path} is not a file that can be read", where=flag, hint="Check the path."
        )
    return path


def check_output(path: Path | None, *, flag: str = "-o") -> Path | None:
    """`path`, if a file can be written there: said before the work, not after it.

    Raises:
        UsageError: it cannot.
    """
    if path is None:
        return None
    if path.is_dir():
        raise UsageError(f"{path} is a folder", where=flag, hint="Name a file in it.")
    if not path.parent.is_dir():
        raise UsageError(
            f"the folder {path.parent} is not there", where=flag, hint="Create it first."
        )
    if not os.access(path if path.exists() else path.parent, os.W_OK):
        raise UsageError(
            f"{path} may not be written", where=flag, hint="Choose a folder of your own."
        )
    return path


def check_format(format: str | None, output: Path | None) -> str:
    """The format asked for, else the one the output's suffix says.

    Raises:
        UsageError: there is no such format.
    """
    from detrbench.render import FORMATS, format_of

    if format is None:
        return format_of(output)
    return check_choice(format, FORMATS, flag="--format")


def check_alone(context: typer.Context, name: str, why: str) -> None:
    """Refuse what would be ignored beside the option `name`; only --format and -o are free.

    Raises:
        UsageError: another argument was given.
    """
    free = {name, "context", "format", "output"}
    sources = {each: context.get_parameter_source(each) for each in context.params}
    given = [
        each
        for each, source in sources.items()
        if each not in free and source is not None and source.name != "DEFAULT"
    ]
    if given:
        flag = next(one.opts[0] for one in context.command.params if one.name == name)
        raise UsageError(
            f"{', '.join(given)} cannot be given again",
            where=flag,
            hint=f"{why}; give {flag} alone.",
        )


def command_line() -> str:
    """The command as typed, for a report's provenance; the home folder, and so its name, as ~."""
    import shlex

    home = os.environ.get("HOME") or os.environ.get("USERPROFILE") or ""
    words = [shlex.quote(word) for word in sys.argv[1:]]
    if home.strip(os.sep):
        words = [word.replace(home + os.sep, f"~{os.sep}") for word in words]
    return " ".join(["detrbench", *words])
