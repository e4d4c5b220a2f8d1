"""torch.compile: the model as fused kernels, generated for its shapes by TorchInductor."""

from __future__ import annotations

import time
import types
from itertools import count

import torch
from torch import Tensor, nn

from detrbench.core.errors import DetrbenchError
from detrbench.runtimes.agreement import Observed, given, observed
from detrbench.runtimes.eager import Eager, ModelStep

# What a compiler lacks, by the exception that says so: what a torch wheel does not bring, or what
# is broken in its cache since a process was killed while it compiled.
_HINTS = {
    "ImportError": "A compile that was cut off may have left a broken file: remove the compiler's "
    "cache, TORCHINDUCTOR_CACHE_DIR or else torchinductor_USER in the folder of temporary files.",
    "InvalidCxxCompiler": "Install a C++ compiler (g++ or clang++), or name one in CXX.",
    "TritonMissing": "Install triton, which compiles for GPUs.",
}

_NUMBERS = count()


class Compile(Eager):
    """`torch.compile` in its default mode, as one graph for one shape, compared with eager."""

    name = "compile"

    def prepare(self, model: nn.Module, images: Tensor) -> ModelStep:
        """The step that calls the compiled `model`; raises as `Runtime.prepare`, and if it does not
        compile. Compiling is done when this returns."""
        super().prepare(model, images)
        placed = self.place(images)
        run = torch.compile(_own_code(observed(model)), dynamic=False, fullgraph=True)
        began = time.perf_counter()
        with torch.inference_mode():
            outputs, selected = _first_call(run, placed)
            compile_s = time.perf_counter() - began
            self.compare(outputs, given(model, placed, selected), "compiled")
        self.prepared["compile_s"] = compile_s
        return ModelStep(lambda: run(placed)[0], self.device.clock)


def _own_code(function: Observed) -> Observed:
    """`function` with a code object that no other model's has.

    The compiler keeps what it made under the code object, and asks on every call which of a code
    object's models this is: interleaved models would pay for each other, and the ninth be refused.
    """
    assert isinstance(function, types.FunctionType)
    code = function.__code__.replace(co_name=f"model_{next(_NUMBERS)}")
    return types.FunctionType(code, function.__globals__, code.co_name, None, function.__closure__)


def _first_call(run: Observed, images: Tensor) -> tuple[object, Tensor | None]:
    try:
        return run(images)
    except torch.OutOfMemoryError:
        raise
    except Exception as error:
        causes = _causes(error)
        kinds = [type(cause).__name__ for cause in causes]
        hints = [_HINTS[kind] for kind in kinds if kind in _HINTS]
        first_line = str(causes[-1]).strip().split("\n")[0]
        raise DetrbenchError(
            f"torch.compile cannot compile the model: {kinds[-1]}: {first_line}",
            hint=hints[0] if hints else "Time it with --runtime eager.",
        ) from error


def _causes(error: BaseException) -> list[BaseException]:
    """`error` and what it was made from; the compiler wraps, sometimes twice."""
    chain = [error]
    while True:
        inner = getattr(chain[-1], "inner_exception", None) or chain[-1].__cause__
        if inner is None or inner in chain:
            return chain
        chain.append(inner)
