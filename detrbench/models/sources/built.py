"""What every source gives: a module, and what is known of it."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from detrbench.core.errors import DetrbenchError, UsageError
from detrbench.core.units import show_many
from detrbench.models.model import Model
from detrbench.models.sources.inputs import of_example, of_images
from detrbench.models.usercode import beside

if TYPE_CHECKING:
    from torch import Tensor, nn

    from detrbench.models.detector import Detector


@dataclass(frozen=True)
class Built:
    """A model as it was really built."""

    module: nn.Module  # takes images (B, C, H, W), in evaluation mode
    title: str  # its name for readers
    nc: int | None = None  # its classes, where it knows them
    published: tuple[dict[str, Any], ...] = ()  # as in a report's rows, without our figures
    notes: tuple[str, ...] = ()  # what its source leaves open and was decided for it
    images: Tensor | None = None  # its own example of input: only that shape is known to work
    folder: Path | None = None  # where its code is, if that is the user's
    # Made for this caller alone, of shapes only, by blocks whose forward keeps nothing.
    stateless: bool = False

    def beside(self) -> AbstractContextManager[None]:
        """Inside, its code finds what it imports, as it did while it was built."""
        return beside(self.folder)

    @property
    def detector(self) -> Detector | None:
        """The module, where it is made of a model file: another one's `spec` is not ours."""
        from detrbench.models.detector import Detector

        return self.module if isinstance(self.module, Detector) else None

    def fused(self, imgsz: tuple[int, int] = (640, 640)) -> Built:
        """With batch norms folded: by the module's own `fuse`, if it takes nothing; else by what
        its parts have of that kind, and the rest where a convolution alone feeds them, if the
        outputs are the same. `imgsz` are images that it takes, unless it has its own example.
        Raises UsageError where there is nothing to fold, or it fails."""
        import torch
        from torch import nn

        from detrbench.models.folding import fold_module, fuse_itself, of_other_classes, own_method

        own, compared = own_method(self.module, ["fuse"]), True
        try:
            with self.beside(), torch.random.fork_rng(devices=[]):
                if own and self.detector is not None:  # which compares what is not its own
                    result = own()
                elif own:
                    result, compared = fuse_itself(self.module.eval(), self.images, imgsz)
                else:
                    result = fold_module(self.module.eval(), self.images, imgsz)
        except DetrbenchError:
            raise
        except (Exception, SystemExit) as error:
            raise UsageError(
                f"fusing it failed: {type(error).__name__}: {error}", where=self.title
            ) from error
        if result is None and not own:
            others = " or ".join(of_other_classes(self.module))
            raise UsageError(
                f"a {type(self.module).__name__} cannot be fused: it has no method `fuse`, and no "
                "convolution of it feeds a batch norm alone"
                + (f" that is torch's own, not a {others}" if others else ""),
                where=self.title,
                hint="Leave --fuse out, or write NAME@fused=false for this one.",
            )
        module = result if isinstance(result, nn.Module) else self.module
        switched = result if isinstance(result, list) else getattr(module, "deployed", ())
        notes = (*self.notes, *_deployed_note(switched), *_unfolded_note(module))
        if not compared:
            notes += ("what its `fuse` makes of it was not compared: it takes no such images",)
        return dataclasses.replace(self, module=module.eval(), notes=notes)

    def check_image_size(self, imgsz: tuple[int, int], batch: int) -> None:
        """Raises UsageError where it cannot take such images."""
        if self.detector is not None:
            self.detector.check_image_size(*imgsz)
        if self.images is None:
            return
        count, _, height, width = self.images.shape
        if (height, width) != imgsz or count != batch:
            raise UsageError(
                f"its example inputs are {count} of {height}x{width} pixels, and "
                f"{batch} of {imgsz[0]}x{imgsz[1]} are asked for",
                where=self.title,
                hint=f"Give --imgsz {height}x{width} --batch {count}, or return the module alone.",
            )


def _deployed_note(switched: Sequence[str]) -> tuple[str, ...]:
    """What was folded by a method that is not called `fuse`."""
    told = (f"{count} {name}" if count > 1 else name for name, count in Counter(switched).items())
    return (f"fused by switch_to_deploy: {', '.join(told)}",) if switched else ()


def _unfolded_note(module: nn.Module) -> tuple[str, ...]:
    """How many batch norms fusing has left, and in which parts of the module."""
    from detrbench.models.folding import unfolded

    paths = unfolded(module)
    if not paths:
        return ()
    parts = Counter(".".join(path.split(".")[:2]) for path in paths)
    told = ", ".join(f"{part} ({count})" if count > 1 else part for part, count in parts.items())
    return (f"fusing left {show_many(len(paths), 'batch norm')} as they were, in {told}",)


def refuse_settings(model: Model, not_taken: Mapping[str, str]) -> None:
    """Raises UsageError where `model` has a setting that its source does not take: key -> why."""
    for key, why in not_taken.items():
        if getattr(model, key) is not None:
            raise UsageError(f"{model.reference} takes no {key}: {why}", hint="Leave it out.")


def described(made: object, name: str, where: str | None = None) -> Built:
    """What somebody made, a module or (module, example inputs), as a source would have built it.
    Raises UsageError where it is neither; `where` says who made it."""
    from torch import nn

    module, inputs = made if isinstance(made, tuple) and len(made) == 2 else (made, None)
    if not isinstance(module, nn.Module):
        raise UsageError(
            f"it returned a {type(module).__name__}, not an nn.Module",
            where=where or name,
            hint="Return the module, or (module, example inputs).",
        )
    built = _described(module, name)
    if inputs is None:
        return dataclasses.replace(built, module=of_images(module))
    module, images = of_example(module, inputs, where or name)
    return dataclasses.replace(built, module=module, images=images)


def _described(module: nn.Module, name: str) -> Built:
    built = Built(module, name)
    if built.detector is None:
        return built
    spec = built.detector.spec
    published = tuple(map(dataclasses.asdict, spec.published))
    notes = (*spec.notes, *getattr(built.detector.model[-1], "detrbench_notes", ()))
    return Built(module, spec.title, spec.nc, published, notes)
