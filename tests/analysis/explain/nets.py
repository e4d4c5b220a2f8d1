"""Small modules to take apart, and files of them to name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import _get_current_dispatch_mode


class Neck(nn.Module):
    """Adds up by itself what its modules return, and returns more than one thing."""

    def __init__(self) -> None:
        super().__init__()
        self.wide = nn.Sequential(nn.Conv2d(8, 8, 3, padding=1), nn.ReLU(inplace=True))
        self.narrow = nn.Conv2d(8, 8, 1)

    def forward(self, x: Tensor, *, scale: float = 1.0) -> dict[str, Tensor]:
        y = self.narrow(self.wide(x)) + x
        return {"map": y * scale, "mask": torch.full((2, 2), float("-inf"))}


class Net(nn.Module):
    """Calls its neck twice, once with a keyword, and joins maps by itself."""

    def __init__(self, stages: dict[str, str] | None = None) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, 2, 1)
        self.neck = Neck()
        self.head = nn.Conv2d(16, 4, 1)
        self.unused = nn.Conv2d(3, 3, 1)
        if stages is not None:
            self.detrbench_stages = stages

    def forward(self, images: Tensor) -> Tensor:
        x = self.stem(images)
        y = self.neck(self.neck(x, scale=2.0)["map"])["map"]
        result: Any = self.head(torch.cat([x, y], 1))
        return result


def is_traced() -> bool:
    """Whether somebody follows the operators; the tensors themselves do not tell."""
    return _get_current_dispatch_mode() is not None


class OtherwiseWhenRun(nn.Module):
    """Leaves out when it runs what it does when it is traced."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 3, 1), nn.Conv2d(3, 3, 1)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.first(x)
        return self.second(y) if is_traced() else y


class Broken(nn.Module):
    """Can be traced, and not run."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 3, 1), nn.Conv2d(3, 3, 1)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.second(self.first(x))
        if not is_traced():
            raise RuntimeError("boom")
        return y


FILE = """
import time

import torch
from torch import nn

SEEN = []

class Threads(nn.Module):
    def __init__(self, wanted):
        super().__init__()
        self.wanted = wanted
        self.first, self.second = nn.Conv2d(3, 8, 3), nn.Conv2d(8, 8, 3)
    def forward(self, x):
        now = torch.get_num_threads()
        SEEN.append(now)
        assert self.wanted in (None, now), f"{now} threads instead of {self.wanted}"
        return self.second(self.first(x)).relu()

def one():
    return Threads(1)

def two():
    return Threads(2)

def any_number():
    return Threads(None)

def with_images():
    return Threads(None), torch.rand(2, 3, 24, 40)

class Slow(nn.Module):
    def forward(self, x):
        time.sleep(0.02 * len(x))
        return x

def slow():
    return Slow()

def whole():
    return nn.Conv2d(3, 8, 3)
"""


def a_file(folder: Path) -> str:
    """The path of a file whose callables return such modules."""
    path = folder / "nets.py"
    path.write_text(FILE)
    return str(path)
