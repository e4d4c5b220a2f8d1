"""`ultralytics:FILE.yaml` and `ultralytics:best.pt`: what the installed ultralytics builds of it.

It may be a fork. It is imported like any library and asked by its public names alone. A checkpoint
is a pickle: loading it runs code that is in it, so that it has to be trusted.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from detrbench.core.errors import UsageError, first_line
from detrbench.core.files import is_ordinary
from detrbench.models.model import Model, hashed
from detrbench.models.packed import check_weights
from detrbench.models.sources.built import Built, described, refuse_settings

PREFIX = "ultralytics:"

_NOT_TAKEN = {
    "blocks": "ultralytics has its own",
    "weights": "give a checkpoint in its place, ultralytics:FILE.pt",
    "backbone_weights": "give a checkpoint in its place, ultralytics:FILE.pt",
}


class Ultralytics:
    """Builds a model file or a checkpoint with the ultralytics of this environment."""

    def claims(self, reference: str) -> bool:
        return reference.startswith(PREFIX) and reference.endswith((".yaml", ".yml", ".pt"))

    def resolve(self, model: Model) -> Model:
        refuse_settings(model, _NOT_TAKEN)
        file = _file(model)
        if find_spec("ultralytics") is None:
            raise UsageError(
                "it is built by ultralytics, which is not installed here",
                where=model.reference,
                hint="pip install ultralytics (AGPL-3.0), or your fork of it.",
            )
        if file.suffix == ".pt" and not model.trust:
            raise UsageError(
                "a checkpoint is a pickle: loading it runs whatever code is in it",
                where=model.reference,
                hint="Give --trust, if you know where it is from; MODEL --weights FILE runs none.",
            )
        if file.suffix == ".pt" and model.nc is not None:
            raise UsageError(
                "a checkpoint has its own number of classes",
                where=model.reference,
                hint="Leave --nc out, or give the model's YAML.",
            )
        return dataclasses.replace(model, files=(hashed(file),))

    def runs_code(self, model: Model) -> bool:
        return True

    def check(self, model: Model, imgsz: tuple[int, int]) -> None:
        """What it builds, and of which images, is known when it is built."""

    def build(self, model: Model, device: str) -> Built:
        import torch

        self.resolve(model)
        with torch.random.fork_rng(devices=[]), contextlib.redirect_stdout(sys.stderr):
            torch.manual_seed(model.seed)
            try:
                module = _made(_file(model), model.nc, model.seed)
            except (Exception, SystemExit) as error:
                first = first_line(error)
                raise UsageError(
                    f"ultralytics cannot build it: {type(error).__name__}: {first}",
                    where=model.reference,
                    hint="Try `from ultralytics import YOLO, RTDETR` with it first.",
                ) from error
        module = module.float().eval().requires_grad_(False)
        module.detrbench_stages = _stages(module)
        built = described(module, model.name)
        nc = getattr(_head(module), "nc", None)
        return dataclasses.replace(built, nc=nc if type(nc) is int else None, notes=_notes(module))


def _file(model: Model) -> Path:
    file = Path(model.reference.removeprefix(PREFIX))
    if not is_ordinary(file):
        raise UsageError(
            "there is no such file", where=str(file), hint="Check the path; nothing is fetched."
        )
    check_weights(file)
    return file


def _made(file: Path, nc: int | None, seed: int) -> Any:
    """The module, by ultralytics' public names."""
    import torch

    # It would otherwise install packages and look for newer versions of itself.
    for key, value in (("YOLO_AUTOINSTALL", "false"), ("YOLO_OFFLINE", "true")):
        os.environ.setdefault(key, value)
    from ultralytics import RTDETR, YOLO

    of_rtdetr = "RTDETRDecoder" in file.read_text("utf-8") if file.suffix != ".pt" else False
    if file.suffix == ".pt":
        return YOLO(str(file)).model
    from ultralytics.nn import tasks

    name = "RTDETRDetectionModel" if of_rtdetr else "DetectionModel"
    make = getattr(tasks, name, None)
    torch.manual_seed(seed)  # importing it may have drawn
    if make is None:  # a fork that calls its classes otherwise
        return (RTDETR if of_rtdetr else YOLO)(str(file)).model
    return make(str(file), nc=nc, verbose=False)


def _rows(module: Any) -> list[Any]:
    """Its rows, where it shows them: modules that know their number."""
    try:
        rows = list(module.model)
    except (AttributeError, TypeError):
        return []
    return rows if all(getattr(row, "i", None) == i for i, row in enumerate(rows)) else []


def _head(module: Any) -> Any:
    return next(iter(_rows(module)[-1:]), None)


def _stages(module: Any) -> dict[str, str]:
    """Path of each row -> its stage; the file that it keeps says where the backbone ends."""
    rows, read = _rows(module), getattr(module, "yaml", None)
    if not rows or not isinstance(read, dict) or not isinstance(read.get("backbone"), list):
        return {}
    last, first_of_neck = len(rows) - 1, len(read["backbone"])
    names = {i: "backbone" if i < first_of_neck else "neck" for i in range(last)}
    return {f"model.{i}": stage for i, stage in (names | {last: "decoder"}).items()}


def _notes(module: Any) -> tuple[str, ...]:
    """What its figures leave out."""
    head = _head(module)
    if head is None or hasattr(head, "num_queries") or not hasattr(head, "stride"):
        return ()
    if getattr(head, "end2end", False):
        return ("it needs no NMS",)
    return ("NMS, which comes after it, is not part of the figures",)
