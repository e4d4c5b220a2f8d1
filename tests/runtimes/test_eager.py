from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from torch import nn

from detrbench.reports.case import Execution
from detrbench.runtimes import open_runtime
from detrbench.runtimes.images import natural_images


@pytest.fixture
def threads() -> Iterator[int]:
    """How many there are, also afterwards."""
    before = torch.get_num_threads()
    yield before
    torch.set_num_threads(before)


@pytest.mark.parametrize("runtime", ["eager", "compile"])
def test_cases_that_take_turns_each_have_their_own_threads(threads: int, runtime: str) -> None:
    opened = {count: open_runtime(Execution(runtime=runtime, threads=count)) for count in (1, 3, 2)}
    assert torch.get_num_threads() == threads, "opening alone changes nothing"
    for _ in range(2):
        for count, one in opened.items():
            one.activate()
            assert torch.get_num_threads() == count
            assert one.settings(natural_images(1, 8, 8))["threads"] == count


def test_threads_that_nobody_asked_for_are_left_alone(threads: int) -> None:
    torch.set_num_threads(2)
    open_runtime(Execution()).activate()
    assert torch.get_num_threads() == 2


def test_a_model_is_run_in_evaluation_and_without_gradients() -> None:
    model = nn.Sequential(nn.Dropout(0.5), nn.Conv2d(3, 2, 1)).train()
    outputs = open_runtime(Execution()).prepare(model, natural_images(1, 8, 8))()
    assert isinstance(outputs, torch.Tensor)
    assert outputs.is_inference()
    assert not model.training
