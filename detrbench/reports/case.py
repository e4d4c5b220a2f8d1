"""What is compared: a case, which is one model executed in one way."""

from __future__ import annotations

import dataclasses
import hashlib
import itertools
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any

from detrbench.core.reading import check_fields
from detrbench.models.model import File, Model
from detrbench.reports.settings import SETTINGS, plain_value

_OF_EXECUTION = tuple(one for one in SETTINGS.values() if one.of == "execution")


@dataclass(frozen=True)
class Execution:
    """How a model is executed: a value for every setting of `SETTINGS` that is of the execution.

    `None` leaves a value to the device, or to what the control group allows.
    """

    imgsz: tuple[int, int] = (640, 640)
    batch: int = 1
    fused: bool = False
    device: str = "cpu"
    runtime: str = "eager"
    dtype: str = "float32"
    memory_format: str = "contiguous"
    threads: int | None = None
    tf32: bool | None = None
    cudnn_benchmark: bool | None = None
    cold_l2: bool = False
    stages: bool = False
    extra_work: int = 0

    @property
    def workload(self) -> tuple[Any, ...]:
        """What two cases must share for their times to be compared: image size, batch, ..."""
        return tuple(getattr(self, one.key) for one in _OF_EXECUTION if not one.comparable)

    def asked(self) -> dict[str, Any]:
        """As a row says it while nothing has been read back from a run."""
        asked = {
            one.key: plain_value(one.key, getattr(self, one.key))
            for one in _OF_EXECUTION
            if not (one.noted and getattr(self, one.key) == one.default)
        }
        asked.pop("extra_work", None)
        tf32 = asked.pop("tf32", None)
        return asked | ({} if tf32 is None else {"tf32_conv": tf32, "tf32_matmul": tf32})


@dataclass(frozen=True)
class Case:
    """One model executed in one way; its name, the model's and behind an @ the settings in which it
    differs, tells it from the others of a request."""

    name: str
    model: Model
    execution: Execution = Execution()

    @property
    def id(self) -> str:
        """From content: the bytes of all its files, not where they lie, and every setting that is
        not as usual, so that a setting invented later changes no id."""
        text = json.dumps(self._content(), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def _content(self) -> dict[str, Any]:
        plain, usual = self.to_dict(), Case("", Model("", "")).to_dict()
        model = plain["model"]
        model["files"] = sorted([PurePath(file["path"]).name, file["sha256"]]
                                for file in model["files"])  # fmt: skip
        for key in ("reference", "blocks", "backbone_weights", "weights"):
            if model[key]:
                last = PurePath(model[key]).name
                model["name"] = model["name"].replace(model[key], last)
                model[key] = last
        return {
            part: {key: value for key, value in plain[part].items() if value != usual[part][key]}
            for part in ("model", "execution")
        }

    def to_dict(self) -> dict[str, Any]:
        """Plain data, as JSON has it."""
        plain: dict[str, Any] = json.loads(json.dumps(dataclasses.asdict(self)))
        return plain

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any]) -> Case:
        """From what `to_dict` made.

        Raises:
            TypeError, KeyError, ValueError: it is something else.
        """
        model, execution = dict(plain["model"]), dict(plain["execution"])
        model["files"] = tuple(File(**file) for file in model.get("files", ()))
        height, width = execution.pop("imgsz")
        made = cls(plain["name"], Model(**model), Execution((height, width), **execution))
        check_fields(made)
        return made

    def settings(self) -> dict[str, Any]:
        """As a row says it while nothing has been read back."""
        asked = self.execution.asked()
        first = {key: asked.pop(key) for key in ("imgsz", "batch")}
        scale = {} if self.model.scale is None else {"scale": self.model.scale}
        return {**first, "nc": self.model.nc, **scale, **asked}

    def settings_of_counts(self, nc: int | None) -> dict[str, Any]:
        """As a row of counts says it, only what counts depend on; `nc` is how many classes the
        model really has, where it knows that."""
        asked = self.settings() | {"nc": nc}
        kept = ("imgsz", "batch", "nc", "scale", "fused")
        return {key: asked[key] for key in kept if key in asked}

    def with_classes(self, nc: int | None) -> Case:
        """The same with so many classes."""
        return dataclasses.replace(self, model=dataclasses.replace(self.model, nc=nc))

    def replace(self, **changes: Any) -> Case:
        """The same model with other settings of its execution."""
        return dataclasses.replace(self, execution=dataclasses.replace(self.execution, **changes))


def baseline_of(case: Case, cases: Iterable[Case]) -> Case | None:
    """What `case` is compared with: the first of its workload; `None` for that one itself."""
    first = next(one for one in cases if one.execution.workload == case.execution.workload)
    return None if first is case or first.name == case.name else first


def pairs_alike(cases: Sequence[Case]) -> Iterator[tuple[Case, Case]]:
    """Where a workload is executed in several ways: in each way every two of its models, but for
    those that are compared anyway, the workload's first case being one."""
    executions = dict.fromkeys(case.execution for case in cases)
    ways = Counter(execution.workload for execution in executions)
    for execution in executions:
        alike = [case for case in cases if case.execution == execution]
        for one, other in itertools.combinations(alike, 2):
            if ways[execution.workload] > 1 and baseline_of(other, cases) is not one:
                yield one, other


def check_values(execution: Execution) -> None:
    """Raises UsageError where a value is none that its setting could have been given."""
    for one in _OF_EXECUTION:
        if getattr(execution, one.key) is not None:
            one.parse(typed(one.key, getattr(execution, one.key)))


def typed(key: str, value: Any) -> str:
    """A value as one would type it: 480x640, true, 8."""
    shown = plain_value(key, value)
    return str(shown).lower() if isinstance(shown, bool) else str(shown)
