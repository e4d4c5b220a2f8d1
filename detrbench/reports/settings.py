"""What a setting is: one line of data each, which everything that knows settings reads.

The options of the command line, suites, references (`rtdetr-l@batch=8`), the keys of rows,
captions, `merge`, `diff`, `gate` and `predict` have no list of their own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from detrbench.core.errors import UsageError, nearest, shorten
from detrbench.core.units import parse_imgsz, show_imgsz, show_many
from detrbench.machine.devices import parse_device

# Values that every runtime spells alike; one that cannot have a value says so when it is opened.
DTYPES = ("float32", "float16", "bfloat16", "int8")
MEMORY_FORMATS = ("contiguous", "channels_last")

Of = Literal["model", "execution", "reading"]


@dataclass(frozen=True)
class Setting:
    """One thing that decides what a number is of.

    Attributes:
        key: its name in rows, suites and references; a flag has dashes for underscores.
        of: what it belongs to: which model is built, how it is executed, or a value that is only
            ever read back or noted in a row.
        parse: a text to its value. Raises UsageError.
        words: its value in a caption; empty for one that goes without saying.
        help, metavar: for the command line.
        default: where nothing is said; `None` leaves it to the model's file, to the device, or to
            what the control group allows.
        also: other spellings that are understood, such as the flag's.
        short: its value in brackets behind a name, where that is another.
        devices: kinds of device that know it; `None` for all.
        runtimes: names of those that know it; `None` for all.
        counts, time: whether counts and whether times change with it.
        comparable: whether the times of cases that differ in it may be compared. Those that may not
            make a workload of their own.
        noted: whether a row names it only where it is not as usual.
        offered: whether users may set it by itself.
        is_file: whether its value is the path of a file.
    """

    key: str
    of: Of
    parse: Callable[[str], Any]
    words: Callable[[Any], str]
    help: str = ""
    metavar: str = ""
    default: Any = None
    also: tuple[str, ...] = ()
    short: Callable[[Any], str] | None = None
    devices: tuple[str, ...] | None = None
    runtimes: tuple[str, ...] | None = None
    counts: bool = False
    time: bool = True
    comparable: bool = True
    noted: bool = False
    offered: bool = True
    is_file: bool = False

    @property
    def flag(self) -> str:
        """As the command line spells it."""
        return f"--{(self.also[0] if self.also else self.key).replace('_', '-')}"


def parse_choice(what: str, known: Sequence[str]) -> Callable[[str], str]:
    """A parser of one of `known`."""

    def parse(text: str) -> str:
        if text not in known:
            hint = f"There are {', '.join(known)}. {nearest(text, known)}"
            raise UsageError(f"unknown {what} {text!r}", hint=hint)
        return text

    return parse


def parse_whole(what: str, least: int = 1, most: int = 2**31 - 1) -> Callable[[str], int]:
    """A parser of whole numbers from `least` to `most`."""

    def parse(text: str) -> int:
        if not (text.isascii() and text.isdecimal()) or not least <= int(text[:20]) <= most:
            said = f"{what} {shorten(text)!r} is not a whole number from {least} to {most}"
            raise UsageError(said, hint=f"Give {least} to {most}.")
        return int(text)

    return parse


def parse_switch(what: str) -> Callable[[str], bool]:
    """A parser of yes and no."""

    def parse(text: str) -> bool:
        known = {"true": True, "yes": True, "on": True, "1": True,
                 "false": False, "no": False, "off": False, "0": False}  # fmt: skip
        if text.lower() not in known:
            said = f"{what} {text!r} is neither true nor false"
            raise UsageError(said, hint="Give true or false.")
        return known[text.lower()]

    return parse


def _device(text: str) -> str:
    parse_device(text)
    return text


def _text(text: str) -> str:
    if not text:
        raise UsageError("a value is empty", hint="Give one, or leave the key out.")
    return text


_ALL = (
    Setting(
        "imgsz", "execution", parse_imgsz, lambda size: f"image {size}",
        "Image size in pixels, such as 640 or 480x640.", "N|HxW", (640, 640),
        short=str, counts=True, comparable=False,
    ),
    Setting(
        "batch", "execution", parse_whole("a batch of", most=65_536),
        lambda batch: f"batch {batch}", "Images per forward pass.", "N", 1,
        counts=True, comparable=False,
    ),
    Setting(
        "nc", "model", parse_whole("a class count of", most=1_000_000), lambda nc: f"nc={nc}",
        "Number of classes.  [default: from the file]", "N", counts=True,
    ),
    Setting(
        "scale", "model", _text, lambda scale: f"scale {scale}",
        "One of the model file's scales.  [default: from the file]", "NAME", counts=True,
    ),
    Setting(
        "fused", "execution", parse_switch("fused"), lambda on: "fused" if on else "unfused",
        "Fold batch norms and merge RepConv branches first.", "", False, ("fuse",), counts=True,
    ),
    Setting(
        "convention", "reading", _text, lambda name: f"convention {name}",
        default="core", short=str, time=False,
    ),
    Setting(
        "device", "execution", _device, lambda device: f"on {device}",
        "cpu, cuda or cuda:N.", "DEVICE", "cpu",
    ),
    Setting(
        "dtype", "execution", parse_choice("dtype", DTYPES), str,
        "float32, float16, bfloat16 or int8.", "DTYPE", "float32",
    ),
    Setting(
        "memory_format", "execution", parse_choice("memory format", MEMORY_FORMATS), str,
        "Of images: contiguous or channels_last.", "LAYOUT", "contiguous",
    ),
    Setting("runtime", "execution", _text, str, "What executes it.", "RUNTIME", "eager"),
    Setting("runtime_version", "reading", _text, str, short=lambda _: "", noted=True),
    Setting(
        "threads", "execution", parse_whole("a thread count of", most=4096),
        lambda threads: show_many(threads, "thread"),
        "Threads of the processor.  [default: what the control group allows]", "N",
    ),
    Setting(
        "stages", "execution", parse_switch("stages"),
        lambda on: "stages timed" if on else "stages not timed",
        "Time preprocessing, backbone, neck, decoder and postprocessing beside the whole.",
        default=False, runtimes=("eager",), comparable=False, noted=True,
    ),
    Setting("confirmation", "reading", parse_whole("a run"), lambda run: f"run {run or 1}",
            counts=True),
    Setting(
        "tf32", "execution", parse_switch("tf32"), lambda on: f"tf32={on}",
        "CUDA: float32 products with 10-bit factors, or not at all.", devices=("cuda",), noted=True,
    ),
    Setting("tf32_conv", "reading", parse_switch("tf32_conv"), lambda on: f"tf32_conv={on}"),
    Setting("tf32_matmul", "reading", parse_switch("tf32_matmul"), lambda on: f"tf32_matmul={on}"),
    Setting(
        "cudnn_benchmark", "execution", parse_switch("cudnn_benchmark"),
        lambda on: f"cudnn_benchmark={on}", "CUDA: let cuDNN try its algorithms.",
        devices=("cuda",), noted=True,
    ),
    Setting(
        "cold_l2", "execution", parse_switch("cold_l2"), lambda on: f"cold_l2={on}",
        "CUDA: flush the L2 cache between samples.", default=False, devices=("cuda",), noted=True,
    ),
    Setting(
        "extra_work", "execution", parse_whole("extra work", 0), lambda n: f"extra_work={n}",
        default=0, noted=True, offered=False,
    ),
    Setting(
        "blocks", "model", _text, str, "Your own blocks: a file or folder, executed.", "FILE.py",
        counts=True, noted=True, is_file=True,
    ),
    Setting(
        "backbone_weights", "model", _text, str, "A torchvision state_dict for the backbone.",
        "FILE", noted=True, is_file=True,
    ),
    Setting(
        "weights", "model", _text, str,
        "Weights for all of a model file's model, of official RT-DETR or Ultralytics.",
        "FILE", noted=True, is_file=True,
    ),
    Setting(
        "trust", "model", parse_switch("trust"), lambda on: f"trust={on}",
        "Let a checkpoint (ultralytics:FILE.pt) run the code in it.", "", False,
        time=False, noted=True,
    ),
    Setting(
        "seed", "model", parse_whole("a seed of", 0), lambda seed: f"seed {seed}",
        "Of weights and images.", "N", 0, time=False, noted=True,
    ),
    Setting(
        "name", "model", _text, str, "What to call it, so that it may stand beside itself.", "TEXT",
        noted=True,
    ),
)  # fmt: skip

SETTINGS: Mapping[str, Setting] = {one.key: one for one in _ALL}
"""By key, in the order of captions."""

_SPELLINGS = {spelling: one for one in _ALL for spelling in (one.key, *one.also)}


def setting(key: str, *, where: str | None = None) -> Setting:
    """The setting that users call `key`.

    Raises:
        UsageError: there is none, or it is not for users to set.
    """
    found = _SPELLINGS.get(key.replace("-", "_"))
    if found is None or found.of == "reading" or not found.offered:
        known = [one.key for one in _ALL if one.of != "reading" and one.offered]
        raise UsageError(f"unknown setting {key!r}", where=where, hint=nearest(key, known))
    return found


def not_of(what: Literal["counts", "time"]) -> frozenset[str]:
    """The keys that no count, or no time, depends on; keys that nobody knows are of both."""
    return frozenset(one.key for one in _ALL if not getattr(one, what))


def settings_text(settings: Mapping[str, Any], *, short: bool = False) -> str:
    """Settings of a row in words, such as "image 640x640, batch 1, nc=80, unfused".

    Args:
        short: as behind a name, where its column or its place says what they are.
    """
    said = {key: settings[key] for key in (*SETTINGS, *settings) if settings.get(key) is not None}
    return ", ".join(filter(None, (_words(key, value, short) for key, value in said.items())))


def _words(key: str, value: Any, short: bool) -> str:
    known = SETTINGS.get(key)
    if known is None:
        return f"{key}={value}"
    return ((short and known.short) or known.words)(value)


def plain_value(key: str, value: Any) -> Any:
    """A setting's value as rows and files hold it."""
    return show_imgsz(value) if key == "imgsz" and isinstance(value, tuple) else value
