"""`.onnx` files: graphs without a module, counted as they are, executed by runtimes for graphs."""

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
        beside = map(str, _weight_files(Path(model.reference)))
        return dataclasses.replace(model, files=tuple(map(hashed, (model.reference, *beside))))

    def runs_code(self, model: Model) -> bool:
        return False

    def check(self, model: Model, imgsz: tuple[int, int]) -> None:
        """Of which images it is, is read with its graph."""

    def build(self, model: Model, device: str) -> Built:
        from detrbench.models.graph_file import GraphFile

        alone = "its outputs were compared with nothing: there is the graph alone"
        return Built(GraphFile(model.reference), model.name, notes=(alone,))


def _weight_files(file: Path) -> list[Path]:
    """The files beside it in which its weights lie. Raises UsageError where one is elsewhere."""
    import onnx
    from onnx.external_data_helper import ExternalDataInfo, uses_external_data

    try:
        graph = onnx.load(file, load_external_data=False).graph
    except Exception:  # whoever reads it for what is in it says what is wrong
        return []
    apart = filter(uses_external_data, graph.initializer)
    names = dict.fromkeys(ExternalDataInfo(each).location for each in apart)
    for name in names:
        if (
            Path(name).is_absolute()
            or ".." in Path(name).parts
            or not (file.parent / name).is_file()
        ):
            raise UsageError(
                f"its weights are in {name!r}, which is no file beside it",
                where=str(file),
                hint="Save the graph with its weights in its own folder.",
            )
    return [file.parent / name for name in names]


def is_graph(reference: str) -> bool:
    """Whether a reference is an ONNX file's."""
    return reference.lower().endswith(".onnx") and is_ordinary(reference)
