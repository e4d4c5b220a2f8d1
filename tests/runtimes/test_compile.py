from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from detrbench.core.errors import DetrbenchError
from detrbench.reports.case import Execution
from detrbench.runtimes import open_runtime
from detrbench.runtimes.images import natural_images


class InvalidCxxCompiler(RuntimeError):
    """Named as the compiler's own."""


def raising(error: Exception) -> object:
    def compiler(*_: object, **__: object) -> object:
        def run(_: Tensor) -> object:
            raise error

        return run

    return compiler


def wrapped(inner: Exception) -> Exception:
    outer = RuntimeError("backend='inductor' raised:\nwith many lines")
    outer.__cause__ = inner
    return outer


def test_a_compiler_that_is_missing_is_said_with_the_cure(monkeypatch: pytest.MonkeyPatch) -> None:
    error = wrapped(InvalidCxxCompiler("No working C++ compiler found\nin many places"))
    monkeypatch.setattr(torch, "compile", raising(error))
    with pytest.raises(
        DetrbenchError, match=r"InvalidCxxCompiler: No working C\+\+ compiler found\n.*in CXX\.$"
    ):
        open_runtime(Execution(runtime="compile")).prepare(nn.Identity(), natural_images(1, 8, 8))


def test_any_other_failure_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "compile", raising(wrapped(ValueError("no such operator\nat 1"))))
    with pytest.raises(DetrbenchError, match=r"ValueError: no such operator\n.*--runtime eager"):
        open_runtime(Execution(runtime="compile")).prepare(nn.Identity(), natural_images(1, 8, 8))


def test_running_out_of_memory_stays_what_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "compile", raising(torch.OutOfMemoryError("no memory")))
    with pytest.raises(torch.OutOfMemoryError):
        open_runtime(Execution(runtime="compile")).prepare(nn.Identity(), natural_images(1, 8, 8))


def test_what_is_compiled_wrongly_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "compile", lambda *_, **__: lambda images: (images * 1.25, None))
    with pytest.raises(DetrbenchError, match=r"^compiled: outputs deviate by 0\.25"):
        open_runtime(Execution(runtime="compile")).prepare(nn.Identity(), natural_images(1, 8, 8))


def test_each_model_is_compiled_under_a_code_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    codes = []

    def compiler(function: object, **options: object) -> object:
        codes.append(function.__code__)  # type: ignore[attr-defined]
        assert options == {"dynamic": False, "fullgraph": True}
        return function

    monkeypatch.setattr(torch, "compile", compiler)
    runtime = open_runtime(Execution(runtime="compile"))
    for _ in range(3):
        runtime.prepare(nn.Identity(), natural_images(1, 8, 8))
    assert len(set(codes)) == 3
    assert runtime.prepared["compile_s"] > 0
