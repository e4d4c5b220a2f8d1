"""What a forward asks of tensors without values is answered as for real, or said."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from detrbench import trace
from detrbench.counting import tracing
from detrbench.counting.profiling import not_counted
from detrbench.counting.tracing import TraceError


@pytest.fixture(scope="module", autouse=True)
def _imported_once() -> None:
    """Or each copy of the process imports it anew."""
    import torch._subclasses.fake_tensor
    import torch.fx.experimental.symbolic_shapes  # noqa: F401


FIRST = 64 * 3 * 8 * 9
"""Multiply-accumulates of a 3x3 convolution of 3 to 8 channels on 8x8 pixels."""

BOTH = FIRST + 64 * 8 * 8 * 9


class Two(nn.Module):
    """Two convolutions; `chosen` says of the first one's output, and of the model, whether the
    second runs."""

    def __init__(self, chosen: Callable[[Tensor, Any], object]) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 8, 3, padding=1)
        self.second = nn.Conv2d(8, 8, 3, padding=1)
        self.scale = nn.Parameter(torch.tensor(1.0))
        self.register_buffer("ready", torch.tensor(True))
        self.chosen = chosen

    def forward(self, images: Tensor) -> Tensor:
        features: Tensor = self.first(images)
        return self.second(features) if self.chosen(features, self) else features


ANSWERED: dict[str, Callable[[Tensor, Any], object]] = {
    "device": lambda x, _: x.device.type in ("cpu", "cuda"),
    "device of a parameter": lambda _, model: model.scale.device == torch.device("cpu"),
    "is_meta": lambda x, _: not x.is_meta,
    "is_cpu": lambda x, _: x.is_cpu,
    "is_cuda": lambda x, _: not x.is_cuda,
    "moved there": lambda x, _: torch.zeros(2, device=x.device).to(x.device).is_cpu,
    "number": lambda *_: torch.tensor(1.0) > 0,
    "computed": lambda *_: int(torch.log2(torch.arange(9)[-1].float())) == 3,
    # As transformers lists its maps' sizes.
    "made empty": lambda *_: _filled_by_element().tolist() == [4, 8],
    "list": lambda *_: torch.tensor([1, -1]).tolist() == [1, -1],
    "written": lambda *_: torch.zeros(2).fill_(3).sum().item() == 6,
    "written by numpy": lambda *_: _written_by_numpy().sum() == 1,
    "written under a view": lambda *_: not _written_under_a_view().all(),
    "buffer": lambda _, model: model.ready,
    "parameter": lambda _, model: model.scale.item() > 0.5,
    "counted": lambda *_: torch.tensor([0, 1, 1]).sum() == 2,
    # Large ones that are one number throughout.
    "mask": lambda *_: torch.ones(1, 64, 64, dtype=torch.bool).all(),
    "mask of a map": lambda x, _: nn.functional.interpolate(
        torch.ones(1, 1, 64, 64), x.shape[2:]
    ).all(),
    "mask like a map": lambda *_: not torch.zeros_like(torch.empty(64, 64)).bool().any(),
    "arithmetic": lambda *_: (torch.full((64, 64), 2.0) * 3 + torch.ones(64)).min() == 7,
    "part": lambda *_: not torch.ones(64, 64).new_zeros(64, 64)[:, 1:].any(),
}


def _filled_by_element() -> Tensor:
    sizes = torch.empty(2, dtype=torch.long)
    sizes[0], sizes[1] = 4, 8
    return sizes


def _written_by_numpy() -> Tensor:
    flags = torch.zeros(8)
    flags.numpy()[3] = 1
    return flags


def _written_under_a_view() -> Tensor:
    row = torch.ones(1, 64)
    rows = row.expand(64, 64)
    row[0, 3] = 0
    return rows


@pytest.mark.parametrize("name", ANSWERED)
def test_what_does_not_depend_on_the_images_is_answered(name: str) -> None:
    traced = trace(Two(ANSWERED[name]), 8)
    assert (traced.macs, not_counted(traced)) == (BOTH, ())


def test_spatial_shapes_in_a_tensor_are_read() -> None:
    def chosen(features: Tensor, _: Any) -> bool:
        shapes = torch.as_tensor([(4, 8), (2, 16)], device=features.device)
        parts = features.flatten(2).split([h * w for h, w in shapes], 2)
        return [part.shape[2] for part in parts] == [32, 32]

    traced = trace(Two(chosen), 8)
    assert (traced.macs, traced.complete) == (BOTH, True)


def _swallows(features: Tensor, _: Any) -> bool:
    try:
        return bool(features.max() > 0)
    except Exception:
        return False


def _spoils(features: Tensor, _: Any) -> bool:
    """What is known is overwritten with what is not, through a view."""
    flags = torch.zeros(2)
    flags[:1].copy_(features.flatten()[:1])
    return bool(flags.sum() > 0)


def _fills_a_part(*_: Any) -> bool:
    """Of a large one that was one number."""
    flags = torch.zeros(64, 64)
    flags[1].fill_(1)
    return bool(flags.sum() > 0)


def _fills_an_element(*_: Any) -> bool:
    flags = torch.ones(64, 64)
    flags[0, 0] = 0
    return not flags.any()


def _writes_through(view: Callable[[Tensor], Tensor]) -> Callable[[Tensor, Any], object]:
    """Into a tensor that is seen in a way in which its values cannot be."""

    def chosen(*_: Any) -> bool:
        flags = torch.zeros(64, 64, dtype=torch.complex64)
        view(flags).zero_().add_(1)
        return bool(flags.real.any())

    return chosen


def _opens_its_memory(*_: Any) -> bool:
    flags = torch.ones(8)
    flags.untyped_storage().fill_(0)
    return bool(flags.all())


def _writes_by_element(*_: Any) -> bool:
    flags = torch.ones(8)
    flags.apply_(lambda _: 0)
    return bool(flags.all())


@pytest.mark.parametrize(
    "chosen",
    [
        _swallows,
        _spoils,
        _fills_a_part,
        _fills_an_element,
        _writes_through(lambda x: x.as_strided((2,), (1,))),
        _writes_through(lambda x: x.real),
        _writes_through(lambda x: x.view(torch.complex128)),
        _writes_through(lambda x: nn.Parameter(x).data),
        _opens_its_memory,
        _writes_by_element,
        lambda x, _: torch.equal(x, x),
        lambda x, _: torch.allclose(x, x),
        lambda *_: torch.rand(()).item() < 0.5,
    ],
)
def test_a_value_that_nobody_knows_makes_the_count_partial(chosen: Any) -> None:
    traced = trace(Two(chosen), 8)
    assert traced.macs == FIRST
    (reason,) = not_counted(traced)
    assert "depends on the values of the images" in reason


def test_an_address_is_a_doubt() -> None:
    traced = trace(Two(lambda x, _: x.data_ptr()), 8)
    assert traced.macs == BOTH
    assert not_counted(traced) == traced.doubts
    assert "where in memory" in traced.doubts[0]


def test_a_forward_that_runs_nothing_is_refused() -> None:
    class Yields(Two):
        def forward(self, images: Tensor) -> Iterator[Tensor]:  # type: ignore[override]
            yield self.first(images)

    with pytest.raises(TraceError, match="generator"):
        trace(Yields(bool), 8)


def test_the_work_of_another_thread_is_missed_and_said() -> None:
    class Threaded(Two):
        def forward(self, images: Tensor) -> Tensor:
            found: list[Tensor] = []
            thread = threading.Thread(target=lambda: found.append(self.first(images)))
            thread.start()
            thread.join()
            return found[0]

    traced = trace(Threaded(bool), 8)
    assert not traced.complete
    assert "another thread" in not_counted(traced)[0]


def test_parameters_without_an_operator_are_a_doubt() -> None:
    class Returns(Two):
        def forward(self, images: Tensor) -> Tensor:
            return images

    assert trace(Returns(bool), 8).doubts == ("no operator was seen, though there are parameters",)


@pytest.mark.parametrize("can_copy", [True, False])
def test_what_a_hook_uses_is_used(can_copy: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tracing, "CAN_COPY", can_copy)
    model = Two(lambda *_: False)
    model.first.register_forward_hook(lambda module, args, output: model.second(output))
    traced = trace(model, 8)
    assert (traced.macs, traced.params_unused) == (BOTH, 1)  # the scale


def test_a_thread_that_writes_in_place_is_said() -> None:
    class InPlace(Two):
        def forward(self, images: Tensor) -> Tensor:
            found = torch.zeros_like(images)
            thread = threading.Thread(target=lambda: found.add_(images))
            thread.start()
            thread.join()
            return found

    assert "starts another thread" in not_counted(trace(InPlace(bool), 8))[0]


def test_a_second_call_that_does_other_work_is_said() -> None:
    class Keeps(Two):
        def forward(self, images: Tensor) -> Tensor:
            if not hasattr(self, "kept"):
                self.kept = self.first(images)
            return self.kept

    traced = trace(Keeps(bool), 8)
    assert traced.macs > 0
    (said,) = not_counted(traced)
    assert f"other work than the first: 0 FLOPs after {2 * traced.macs:,} FLOPs" in said


def test_parameters_that_the_first_forward_makes_are_refused() -> None:
    class Lazy(Two):
        def forward(self, images: Tensor) -> Tensor:
            if not hasattr(self, "lazy"):
                self.lazy = nn.Parameter(torch.ones(1, device=images.device))
            return self.first(images * self.lazy)

    with pytest.raises(TraceError, match="its first forward makes parameters, such as lazy"):
        trace(Lazy(bool), 8)


def test_a_linear_layer_is_one_whatever_its_weight_is_computed_from() -> None:
    layer = nn.utils.parametrizations.weight_norm(nn.Linear(8, 5, bias=False))

    class Holds(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = layer

        def forward(self, images: Tensor) -> Tensor:
            found: Tensor = self.layer(images)
            return found

    rows = 3 * 8
    traced = trace(Holds(), 8)
    assert traced.memory_access_elements == rows * 8 + 8 * 5 + rows * 5
