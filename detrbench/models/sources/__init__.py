"""Where models come from: one file for each kind, and one line in the table.

A reference names a model: `rtdetr-l`, `./my.yaml`, `./my.py:build`. Its form says which source it
is of. A source says at once, without torch, what is wrong with a reference and which files it is;
and in the process that needs it, it builds the module.
"""

from __future__ import annotations

from collections.abc import Iterable
from pkgutil import resolve_name
from typing import Protocol

from detrbench.core.errors import UsageError
from detrbench.models.model import Model, file_differences
from detrbench.models.sources.built import Built

SOURCES: dict[str, str] = {
    "ultralytics": "detrbench.models.sources.ultralytics:Ultralytics",
    "callable": "detrbench.models.sources.callables:Callables",
    "huggingface": "detrbench.models.sources.huggingface:HuggingFace",
    "exported": "detrbench.models.sources.exported:ExportedPrograms",
    "onnx": "detrbench.models.sources.onnx:OnnxGraphs",
    "stranger": "detrbench.models.sources.strangers:Strangers",
    "file": "detrbench.models.sources.modelfiles:ModelFiles",
}
"""Name -> "module:Class", asked in this order; the last takes what no other does."""


class Source(Protocol):
    """One way to name a model."""

    def claims(self, reference: str) -> bool:
        """Whether a reference has the form of this source's."""

    def resolve(self, model: Model) -> Model:
        """`model` with the hashes of all files that it comes from; imports no torch, runs nothing.
        Raises UsageError where there is no such model, or it cannot have what is asked of it."""

    def runs_code(self, model: Model) -> bool:
        """Whether building `model` runs code that is not ours."""

    def check(self, model: Model, imgsz: tuple[int, int]) -> None:
        """Raises UsageError for what is wrong with it, or with such images, as far as that is to be
        seen without torch; `build` sees the rest."""

    def build(self, model: Model, device: str) -> Built:
        """The module on `device`; "meta" asks for shapes alone, where the source can do that.
        Raises UsageError where it cannot be built so."""


def source_of(reference: str) -> Source:
    """The source whose form a reference has."""
    for place in SOURCES.values():
        source: Source = resolve_name(place)()
        if source.claims(reference):
            return source
    raise AssertionError("the last source takes everything")


def resolve(model: Model) -> Model:
    """`model` with its files, as they are now. Raises UsageError where it leads nowhere."""
    return source_of(model.reference).resolve(model)


def check_unchanged(models: Iterable[Model], where: str) -> None:
    """Raises UsageError where a file of a model is not what it was when something was begun with
    it in `where`: what follows would be of another model."""
    for model in models:
        for file in set(resolve(model).files) ^ set(model.files) if model.files else ():
            differing = file_differences(model, resolve(model))
            said = ", ".join(f"{name} ({one}, {two})" for name, (one, two) in differing.items())
            raise UsageError(
                f"{file.path} has changed since this was begun; SHA-256 then and now: {said}",
                where=where,
                hint="Put it back as it was, or measure anew.",
            )


def build_model(model: Model, device: str = "cpu") -> Built:
    """The module of `model`, in evaluation mode. Raises UsageError where it cannot be built."""
    return source_of(model.reference).build(model, device)
