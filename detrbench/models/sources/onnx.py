"""`.onnx` files: graphs without a module, which are counted and not executed here."""

from __future__ import annotations

import dataclasses
from importlib.util import find_spec
from pathlib import Path

from detrbench.core.errors import UsageError
from detrbench.core.files import is_ordinary
from detrbench.models.model import Model, hashed
from detrbench.models.packed import check_weights
from detrbench.models.sources.built import Built, refuse_settings

_NOT_TAKEN = {
    "nc": "its layers are as they were exported",
    "blocks": "it has its own",
    "weights": "it has its own",
    "backbone_weights": "it has its own",
}


class OnnxGraphs:
    """Claims an ONNX file; what its graph costs is read from it where it is counted."""

    def claims(self, reference: str) -> bool:
        return is_graph(reference)

    def resolve(self, model: Model) -> Model:
        refuse_settings(model, _NOT_TAKEN)
        if find_spec("onnx") is None:
            raise UsageError(
                "it is read by onnx, which is not installed",
                where=model.reference,
                hint='pip install "detrbench[onnx]"',
            )
        check_weights(Path(model.reference))
        return dataclasses.replace(model, files=(hashed(model.reference),))

    def runs_code(self, model: Model) -> bool:
        return False

    def check(self, model: Model, imgsz: tuple[int, int]) -> None:
        """Of which images it is, is read with its graph."""

    def build(self, model: Model, device: str) -> Built:
        raise UsageError(
            "an ONNX graph is counted (detrbench profile), and not executed here",
            where=model.reference,
            hint="Give the module that it was made from: ./FILE.py:NAME.",
        )


def is_graph(reference: str) -> bool:
    """Whether a reference is an ONNX file's."""
    return reference.lower().endswith(".onnx") and is_ordinary(reference)
