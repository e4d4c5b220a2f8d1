"""Model files in Ultralytics' format: those that come with detrbench, and the user's own."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING

from detrbench.core.errors import UsageError
from detrbench.core.files import is_ordinary
from detrbench.models.catalog import STRIDE, asked_scale, data_root, find_model
from detrbench.models.model import File, Model, hashed
from detrbench.models.nn import BLOCKS
from detrbench.models.packed import check_weights
from detrbench.models.sources.built import Built, described
from detrbench.models.usercode import beside, closure, imports_from, modules_in
from detrbench.models.yaml_spec import load_model_spec

if TYPE_CHECKING:
    from detrbench.models.detector import Detector


class ModelFiles:
    """`rtdetr-l` of `models/`, or the path of a file."""

    def claims(self, reference: str) -> bool:
        return True

    def resolve(self, model: Model) -> Model:
        path = find_model(model.reference)
        file = hashed(path)
        if path.parent == data_root("models"):  # ours: not where it was installed
            file = dataclasses.replace(file, path=f"models/{path.name}")
        files = [file]
        if model.blocks is not None:
            blocks = _readable(model.blocks, "--blocks", or_folder=True)
            found = [closure(file, imports_from(blocks)) for file in modules_in(blocks)]
            files.extend(dict.fromkeys(file for each in found for file in each))
        if model.backbone_weights is not None:
            files.append(_weights(model.backbone_weights, "--backbone-weights"))
        if model.weights is not None:
            files.append(_weights(model.weights, "--weights"))
        return dataclasses.replace(model, files=tuple(files))

    def runs_code(self, model: Model) -> bool:
        return model.blocks is not None

    def check(self, model: Model, imgsz: tuple[int, int]) -> None:
        path, scale = find_model(model.reference), asked_scale(model.reference, model.scale)
        known = BLOCKS if model.blocks is None else None
        spec = load_model_spec(path, nc=model.nc, scale=scale, known_blocks=known)
        if path.parent == data_root("models"):
            spec.check_image_size(*imgsz, STRIDE)

    def build(self, model: Model, device: str) -> Built:
        from detrbench.models.builder import build

        folder = None if model.blocks is None else imports_from(Path(model.blocks))
        device = "cpu" if model.backbone_weights or model.weights else device
        with beside(folder):
            detector = build(
                model.reference,
                model.nc,
                model.blocks,
                scale=model.scale,
                device=device,
                backbone_weights=model.backbone_weights,
                seed=model.seed,
            )
        stateless = folder is None and device == "meta"
        built = described(detector, model.name)
        built = dataclasses.replace(built, folder=folder, stateless=stateless)
        return built if model.weights is None else _with_weights(built, detector, model.weights)


def _with_weights(built: Built, detector: Detector, path: str) -> Built:
    from detrbench.models.checkpoints import load_weights

    notes = load_weights(detector, path)
    return dataclasses.replace(built, notes=(*built.notes, *notes))


def _weights(path: str, flag: str) -> File:
    file = _readable(path, flag)
    check_weights(file)
    return hashed(file)


def _readable(path: str, flag: str, *, or_folder: bool = False) -> Path:
    if not is_ordinary(path) and not (or_folder and Path(path).is_dir()):
        raise UsageError(
            f"{path} is not a file that can be read", where=flag, hint="Check the path."
        )
    return Path(path)
