"""An ONNX file in a module's place: what executes it reads the file."""

from __future__ import annotations

from torch import Tensor, nn

from detrbench.core.errors import UsageError


class GraphFile(nn.Module):
    """A model that there is as a graph alone.

    Args:
        path: of the `.onnx` file.
    """

    def __init__(self, path: str) -> None:
        super().__init__()
        self.path = path

    def forward(self, images: Tensor) -> Tensor:
        raise UsageError(
            "PyTorch does not execute an ONNX graph",
            where=self.path,
            hint="Give --runtime onnxruntime or --runtime openvino.",
        )
