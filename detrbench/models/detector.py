"""A whole detector: rows run in order, the last one decodes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor, nn

from detrbench.core.errors import DetrbenchError, first_line
from detrbench.models.folding import Foldable
from detrbench.models.nn.detections import Detections
from detrbench.models.signatures import takes_each
from detrbench.models.yaml_spec import ModelSpec, Row


class Detector(nn.Module):
    """A detector as its file describes it; state_dict keys are `model.<row>.<...>`.

    spec: what was built. stride: image sizes must be multiples of it. detrbench_stages: path
    of each row's module -> "backbone", "neck" or "decoder", as the trace reads it of any module.
    foldable: path of a module of the user's -> what `fuse` can fold in it. deployed: what switched
    to deploy as it was fused, "RepVGGBlock in model.3", as often as there are.
    """

    def __init__(
        self,
        spec: ModelSpec,
        modules: Sequence[nn.Module],
        stride: int,
        foldable: Mapping[str, Foldable] | None = None,
    ) -> None:
        super().__init__()
        self.model = nn.ModuleList(modules)
        self.spec = spec
        self.stride = stride
        self.detrbench_stages = {f"model.{row.index}": row.stage for row in spec.rows}
        self._release = _last_uses(spec.rows)
        self._foldable = foldable or {}
        self._is_folded = False
        self.deployed: tuple[str, ...] = ()
        # The rows whose inputs are as many arguments.
        self._apart = frozenset(
            row.index
            for row in spec.rows
            if row.listed and takes_each(self.model[row.index].forward, len(row.sources))
        )

    def forward(self, images: Tensor, selected: Tensor | None = None) -> Detections:
        """images: (B, 3, H, W). selected: (B, Q) cells the decoder starts from, instead of its
        own choice. Returns boxes (B, Q, 4) and scores (B, Q, nc)."""
        given = () if selected is None else (selected,)
        return self.decode(self.decoder_inputs(images), *given)

    def decode(self, inputs: Any, *selected: Tensor) -> Detections:
        """The last row's part of `forward`."""
        return Detections(*self._call(self.spec.rows[-1], inputs, *selected))

    @property
    def selects_queries(self) -> bool:
        """Whether the last row picks queries and says which; a row of the user's own may not."""
        return hasattr(self.model[-1], "detect")

    def detect(self, images: Tensor) -> tuple[Detections, Tensor]:
        """What `forward` returns, and the cells it started from: (B, Q) int64, best first. For
        comparing ways to execute a detector, see `detrbench.runtimes.agreement`."""
        decoder: Any = self.model[-1]
        detections, selected = decoder.detect(self.decoder_inputs(images))
        return Detections(*detections), selected

    def run_stage(self, stage: str, outputs: Mapping[int, Any]) -> dict[int, Any]:
        """Run the rows of one stage: "backbone", "neck" or "decoder".

        `outputs` is row index -> output, of what the stages before left; -1 is the images. What is
        left for the stages after is returned; the last row's own output stays.
        """
        left = dict(outputs)
        self._run([row for row in self.spec.rows if row.stage == stage], left)
        return left

    def decoder_inputs(self, images: Tensor) -> Any:
        """What the last row reads: the part of `forward` of all rows before it."""
        *rows, last = self.spec.rows
        outputs: dict[int, Any] = {-1: images}
        self._run(rows, outputs)
        return _gather(last, outputs)

    def _run(self, rows: Sequence[Row], outputs: dict[int, Any]) -> None:
        """Run `rows` on `outputs`, in place. An output goes once its last reader has run, and the
        last row's stays: it is the answer."""
        for row in rows:
            outputs[row.index] = self._call(row, _gather(row, outputs))
            for index in self._release[row.index]:
                if index != self.spec.rows[-1].index:
                    del outputs[index]

    def _call(self, row: Row, inputs: Any, *more: Any) -> Any:
        """A row's module, with its inputs as one argument, or as many."""
        module = self.model[row.index]
        return module(*inputs, *more) if row.index in self._apart else module(inputs, *more)

    def fuse(self) -> Detector:
        """Fold normalisations into convolutions and merge parallel ones, in place: the same outputs
        with fewer operators. Doing it twice does nothing more. Blocks of ours fold themselves, and
        of the user's those with a method `fuse` or `switch_to_deploy`; in the others, convolutions
        take in the batch norms that they alone feed.

        Raises SpecError where a block of the user's cannot, or computes something else then."""
        own: set[int] = set()
        for path, foldable in self._foldable.items():
            module = self.get_submodule(path)
            own.update(map(id, module.modules()))
            if not self._is_folded:
                self._fold_own(path, foldable)
        for module in list(self.modules()):
            fold = getattr(module, "fuse", None)
            if fold is not None and module is not self and id(module) not in own:
                fold()
        for path, foldable in self._foldable.items():
            foldable.fold(self.get_submodule(path))
        self._is_folded = True
        return self

    def _fold_own(self, path: str, foldable: Foldable) -> None:
        row = self.spec.rows[int(path.split(".")[1])]
        try:
            switched = foldable.fold_own(self.get_submodule(path))
        except DetrbenchError:
            raise
        except Exception as error:  # the user's code, which may fail in any way
            what = (
                f"folding it by its own method failed: {first_line(error) or type(error).__name__}"
            )
            hint = "correct its `fuse` or `switch_to_deploy`, or leave --fuse out."
            raise self.spec.error(row, what, hint) from error
        self.deployed += tuple(f"{name} in model.{row.index}" for name in switched)

    def check_image_size(self, height: int, width: int) -> None:
        """Raises UsageError where the strides do not divide the size."""
        self.spec.check_image_size(height, width, self.stride)


def _gather(row: Row, outputs: dict[int, Any]) -> Any:
    found = [outputs[source] for source in row.sources]
    return found if row.listed else found[0]


def _last_uses(rows: Sequence[Row]) -> tuple[tuple[int, ...], ...]:
    """For each row, the outputs that nobody reads any more once it has run."""
    reader = {row.index: row.index for row in rows}  # an output that nobody reads goes at once
    reader |= {source: row.index for row in rows for source in row.sources}
    return tuple(tuple(s for s, last in reader.items() if last == row.index) for row in rows)
