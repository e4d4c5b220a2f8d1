"""Options that commands share, and the checks that need no torch: a typo is said at once."""

from __future__ import annotations

import os
import sys
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Annotated

import typer

from detrbench.core.errors import UsageError, nearest

ImageSize = Annotated[
    str,
    typer.Option("--imgsz", metavar="N|HxW", help="Image size in pixels, such as 640 or 480x640."),
]
Device = Annotated[str, typer.Option("--device", metavar="DEVICE", help="cpu, cuda or cuda:N.")]
Threads = Annotated[
    int | None,
    typer.Option(
        "--threads",
        min=1,
        metavar="N",
        help="Threads of the processor.  [default: what the control group allows]",
    ),
]
Dtype = Annotated[
    str, typer.Option("--dtype", metavar="DTYPE", help="float32, float16 or bfloat16.")
]
MemoryFormat = Annotated[
    str,
    typer.Option(
        "--memory-format", metavar="LAYOUT", help="Of images: contiguous or channels_last."
    ),
]
Batch = Annotated[int, typer.Option("--batch", min=1, metavar="N", help="Images per forward pass.")]
Classes = Annotated[
    int | None,
    typer.Option("--nc", min=1, metavar="N", help="Number of classes.  [default: from the file]"),
]
Fuse = Annotated[
    bool, typer.Option("--fuse", help="Fold batch norms and merge RepConv branches first.")
]
Blocks = Annotated[
    Path | None,
    typer.Option("--blocks", metavar="FILE.py", help="Your own blocks. The file is executed."),
]
BackboneWeights = Annotated[
    Path | None,
    typer.Option(
        "--backbone-weights", metavar="FILE", help="A torchvision state_dict for the backbone."
    ),
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


def check_models(models: Sequence[str]) -> list[str]:
    """The models asked for, each of which has a file and stands once.

    Raises:
        UsageError: there is no such model, or one is named twice.
    """
    from detrbench.models.catalog import find_model

    for index, model in enumerate(models):
        find_model(model)
        if model in models[:index]:
            raise UsageError(f"{model} is named twice", where="MODEL", hint="Name each model once.")
    return list(models)


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


def check_device(device: str) -> str:
    """`device`, if it is written like one; whether it is there is for torch to say.

    Raises:
        UsageError: it is not.
    """
    from detrbench.machine.devices import parse_device

    try:
        parse_device(device)
    except UsageError as error:
        raise UsageError(error.what, where="--device", hint=error.hint) from error
    return device


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
