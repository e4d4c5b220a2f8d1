"""The real counters, run as independent references: thop, fvcore and torch's own.

They run the model for real, on a copy, on the CPU. Each figure carries the distribution and version
that answered, since two distributions share the import name `thop` and count differently.
"""

from __future__ import annotations

import base64
import copy
import hashlib
import importlib
import logging
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from detrbench.core.errors import UsageError
from detrbench.counting.tracing import attention_in_full


@dataclass(frozen=True)
class Counted:
    """What a real counter said."""

    convention: str  # of `detrbench.counting.conventions`, which it follows
    counter: str  # distribution and version, as installed
    flops: int  # two per multiply-accumulate, whatever the counter calls its number


class CounterMissing(UsageError):
    """A counter that is not installed, or cannot be imported here."""


def run_counter(name: str, model: nn.Module, imgsz: tuple[int, int], batch: int = 1) -> Counted:
    """Run the counter imported as `name` ("thop", "fvcore" or "torch") on a copy of the model.

    The model has memory and values, on the CPU; `imgsz` is (H, W) in pixels. Attention's fused fast
    path is off meanwhile: it would count as 0 in all of them. Raises CounterMissing where the
    counter is not installed or cannot be imported.
    """
    images = torch.rand(batch, 3, *imgsz)
    with attention_in_full(), torch.no_grad():
        return COUNTERS[name](copy.deepcopy(model).eval(), images)


def _torch(model: nn.Module, images: Tensor) -> Counted:
    from torch.utils.flop_counter import FlopCounterMode

    # It hooks the gradients of what a module is given, which a view of a parameter does not have.
    model.requires_grad_(False)
    with FlopCounterMode(display=False) as counter:
        model(images)
    return Counted("torch", f"torch {torch.__version__}", counter.get_total_flops())


def _fvcore(model: nn.Module, images: Tensor) -> Counted:
    with _quiet("fvcore"):
        analysis = _import("fvcore.nn", "fvcore").FlopCountAnalysis(model, images)
        analysis.unsupported_ops_warnings(False).uncalled_modules_warnings(False)
        macs = analysis.tracer_warnings("none").total()
    return Counted("fvcore", f"fvcore {metadata.version('fvcore')}", 2 * int(macs))


def _thop(model: nn.Module, images: Tensor) -> Counted:
    with _quiet("thop"):
        macs, _ = _import("thop", "thop").profile(model, inputs=(images,), verbose=False)
    found = owner("thop")
    convention = "ultralytics-thop" if found.name == "ultralytics-thop" else "thop"
    return Counted(convention, f"{found.name} {found.version}", 2 * int(macs))


Counter = Callable[[nn.Module, Tensor], Counted]
COUNTERS: Mapping[str, Counter] = {"thop": _thop, "fvcore": _fvcore, "torch": _torch}
"""Import name -> how to run what answers to it."""


def owner(package: str) -> metadata.Distribution:
    """The distribution whose files really lie at an import name.

    Two distributions can install into one package, the later one over the earlier. The one whose
    record has the hash of the package's file is the one that answers. Raises CounterMissing where
    none has that import name.
    """
    names = dict.fromkeys(metadata.packages_distributions().get(package, ()))
    candidates = [metadata.distribution(name) for name in names]
    for distribution in candidates:
        if len(candidates) == 1 or _installed_by(distribution, f"{package}/profile.py"):
            return distribution
    both = " and ".join(sorted(names)) or "no distribution"
    raise CounterMissing(
        f"{both} claims the import name {package!r}, and none has a record of the file there",
        hint="pip install --force-reinstall one of them, in an environment of its own",
    )


def _installed_by(distribution: metadata.Distribution, file: str) -> bool:
    for path in distribution.files or ():
        if path.as_posix() == file and path.hash is not None:
            content = Path(str(path.locate())).read_bytes()
            digest = hashlib.new(path.hash.mode, content).digest()
            return base64.urlsafe_b64encode(digest).rstrip(b"=").decode() == path.hash.value
    return False


def _import(module: str, distribution: str) -> Any:
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name == "distutils":
            raise CounterMissing(
                f"{distribution} imports distutils, which this Python no longer has",
                hint="pip install setuptools",
            ) from error
        hint = "pip install 'detrbench[counters]'"
        raise CounterMissing(f"{distribution} is not installed", hint=hint) from error


@contextmanager
def _quiet(logger: str) -> Iterator[None]:
    """Counters warn about what they skip; the reconcile table says it better."""
    speaker = logging.getLogger(logger)
    level = speaker.level
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        speaker.setLevel(logging.ERROR)
        try:
            yield
        finally:
            speaker.setLevel(level)
