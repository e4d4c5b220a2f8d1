"""Folders as Hugging Face's transformers saves them: config.json, and weights where there are any.

The installed transformers builds the model, offline: nothing is fetched, and no code of the
folder's is run. Without a file of weights they are random, which the row says.
"""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from detrbench.core.errors import UsageError, first_line, nearest
from detrbench.core.files import is_ordinary
from detrbench.models.model import Model, hashed
from detrbench.models.sources.built import Built, described, refuse_settings

FAMILIES: Mapping[str, str] = {
    "rt_detr": "RTDetrForObjectDetection",
    "rt_detr_v2": "RTDetrV2ForObjectDetection",
    "d_fine": "DFineForObjectDetection",
    "rf_detr": "RfDetrForObjectDetection",
    "detr": "DetrForObjectDetection",
    "conditional_detr": "ConditionalDetrForObjectDetection",
    "deformable_detr": "DeformableDetrForObjectDetection",
    "dab-detr": "DabDetrForObjectDetection",
    "yolos": "YolosForObjectDetection",
}
"""`model_type` of a config.json -> the class of transformers that is built."""

MOST_BYTES = 2**20
"""Of a config.json; those with a name for each of 1,203 classes have 100 KB."""

_STAGES = {
    "model.backbone": "backbone",
    "model.encoder": "neck",
    "model.encoder_input_proj": "neck",
    "model.input_projection": "neck",
    "model.input_proj": "neck",
    "model": "decoder",
    "vit": "backbone",
}
_OTHERWISE = "decoder"

_NOT_TAKEN = {
    "blocks": "transformers has its own",
    "weights": "its weights lie beside its config.json",
    "backbone_weights": "its weights lie beside its config.json",
}

_OTHER_WAY = "Give a function of yours that makes the module: ./FILE.py:NAME."


class HuggingFace:
    """Builds a detector from the folder that transformers saved it into."""

    def claims(self, reference: str) -> bool:
        return _config_file(reference) is not None

    def resolve(self, model: Model) -> Model:
        refuse_settings(model, _NOT_TAKEN)
        file = _config_file(model.reference)
        assert file is not None  # it was claimed
        _check(_read(file), file)
        _check_installed(model.reference)
        return dataclasses.replace(model, files=(hashed(file), *map(hashed, _weights(file))))

    def runs_code(self, model: Model) -> bool:
        return False

    def check(self, model: Model, imgsz: tuple[int, int]) -> None:
        """`resolve` has seen what is to be seen without torch."""

    def build(self, model: Model, device: str) -> Built:
        import torch

        file = _config_file(model.reference)
        assert file is not None  # it was claimed
        read = _read(file)
        _check(read, file)
        _check_installed(model.reference)
        weights = _weights(file) if device != "meta" else []
        with _offline(), torch.random.fork_rng(devices=[]), torch.device(device):
            torch.manual_seed(model.seed)
            try:
                module, notes = _made(read, file, model.nc, bool(weights))
            except (Exception, SystemExit) as error:
                first = first_line(error)
                raise UsageError(
                    f"transformers cannot build it: {type(error).__name__}: {first}",
                    where=str(file),
                    hint="Another version of transformers may; "
                    "config.json says by which it was saved.",
                ) from error
        if not _weights(file):
            notes = ("the weights are random: beside config.json there are none", *notes)
        module.detrbench_stages = _stages(module)
        built = described(module.eval(), model.name)
        return dataclasses.replace(built, nc=int(module.config.num_labels), notes=notes)


def _config_file(reference: str) -> Path | None:
    try:
        path = Path(reference)
        file = path if path.name == "config.json" else path / "config.json"
        return file if is_ordinary(file) else None
    except (OSError, ValueError):  # ValueError: a NUL in the path
        return None


def _read(file: Path) -> dict[str, Any]:
    try:
        with file.open("rb") as opened:
            content = opened.read(MOST_BYTES + 1)
        read = json.loads(content) if len(content) <= MOST_BYTES else None
    except (OSError, ValueError, RecursionError) as error:
        raise UsageError(f"it is not JSON: {error}", where=str(file)) from error
    if not isinstance(read, dict) or not isinstance(read.get("model_type"), str):
        raise UsageError(
            "it is no configuration of transformers: it names no model_type",
            where=str(file),
            hint=_OTHER_WAY,
        )
    return read


def _check(read: Mapping[str, Any], file: Path) -> None:
    """Raises UsageError for what shows without transformers."""
    kind = read["model_type"]
    if read.get("auto_map"):
        raise UsageError(
            "its model is code beside it (auto_map), which is not run",
            where=str(file),
            hint=_OTHER_WAY,
        )
    if kind not in FAMILIES:
        raise UsageError(
            f"a {kind} is not one of the detectors that are built from a folder",
            where=str(file),
            hint=f"{nearest(kind, FAMILIES)} {_OTHER_WAY}",
        )
    inner = read.get("backbone_config")
    of_timm = read.get("use_timm_backbone") or (inner or {}).get("model_type") == "timm_backbone"
    if of_timm and find_spec("timm") is None:
        raise UsageError(
            f"its backbone {read.get('backbone') or (inner or {}).get('backbone')} is timm's, "
            "which is not installed",
            where=str(file),
            hint="pip install timm",
        )
    if read.get("backbone") and not of_timm and not inner:
        raise UsageError(
            f"its backbone {read['backbone']} is described elsewhere, and nothing is fetched",
            where=str(file),
            hint="Save it with its backbone_config: model.save_pretrained(FOLDER) writes one.",
        )


def _check_installed(reference: str) -> None:
    if find_spec("transformers") is None:
        raise UsageError(
            "it is built by transformers, which is not installed",
            where=reference,
            hint='pip install "detrbench[transformers]"',
        )


def _weights(file: Path) -> list[Path]:
    """The files of tensors beside a configuration; pickled ones are never read."""
    return sorted(each for each in file.parent.glob("*.safetensors") if each.is_file())


@contextmanager
def _offline() -> Iterator[None]:
    """Inside, transformers is told to fetch nothing, and to be quiet."""
    before = {key: os.environ.get(key) for key in _OFFLINE}
    os.environ.update(_OFFLINE)
    try:
        yield
    finally:
        for key, value in before.items():
            if value is None:
                os.environ.pop(key, None)
            else:
                os.environ[key] = value


_OFFLINE = {
    "HF_HUB_OFFLINE": "1",
    "TRANSFORMERS_OFFLINE": "1",
    "TRANSFORMERS_VERBOSITY": "error",
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
}


def _made(
    read: dict[str, Any], file: Path, nc: int | None, weights: bool
) -> tuple[Any, tuple[str, ...]]:
    """The module, and what its weights leave open."""
    import torch
    import transformers

    model_class = getattr(transformers, FAMILIES[read["model_type"]], None)
    if model_class is None:
        hint = 'pip install --upgrade "detrbench[transformers]"'
        what = f"transformers {transformers.__version__} does not know {read['model_type']}"
        raise UsageError(what, where=str(file), hint=hint)
    plain = {key: value for key, value in read.items() if key not in ("dtype", "torch_dtype")}
    config = model_class.config_class.from_dict(plain)
    for each in filter(None, (config, getattr(config, "backbone_config", None))):
        if hasattr(each, "use_pretrained_backbone"):
            each.use_pretrained_backbone = False  # its weights would be fetched
    if nc is not None:
        config.num_labels = nc
    if not weights:
        return model_class(config).float(), ()
    with torch.device("cpu"):
        module, info = model_class.from_pretrained(
            file.parent,
            config=config,
            dtype=torch.float32,
            local_files_only=True,
            use_safetensors=True,
            ignore_mismatched_sizes=True,
            output_loading_info=True,
        )
    return module, tuple(_unfit(info))


def _unfit(info: Mapping[str, Any]) -> Iterator[str]:
    from detrbench.models.tensors import some

    told = {
        "missing_keys": "tensors are not in the file of weights, and random",
        "mismatched_keys": "tensors have another shape in the file of weights, and are random",
        "unexpected_keys": "entries of the file of weights were not used",
    }
    for key, what in told.items():
        names = sorted(str(one[0] if isinstance(one, tuple) else one) for one in info.get(key, ()))
        if names:
            yield f"{len(names)} {what}: {some(names)}"


def _stages(module: Any) -> dict[str, str]:
    """Of the parts that transformers gives every such detector."""
    names = {name for name, _ in module.named_modules() if name.count(".") < 2 and name}
    known = {name: stage for name, stage in _STAGES.items() if name in names}
    tops = {name: _OTHERWISE for name in names if "." not in name and name not in known}
    return known | tops
