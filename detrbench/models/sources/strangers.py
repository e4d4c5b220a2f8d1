"""Files of other kinds, which are told what they are and which way leads here.

Nothing of them is run: archives are listed, pickles are read operation by operation, and Python and
YAML files are only parsed.
"""

from __future__ import annotations

import ast
import io
import pickletools
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from detrbench.core.errors import SpecError, UsageError, shorten
from detrbench.core.files import is_ordinary
from detrbench.core.strict_yaml import Node, read_yaml
from detrbench.models.catalog import model_names
from detrbench.models.model import Model
from detrbench.models.sources.built import Built


@dataclass(frozen=True)
class Kind:
    """What a file is, as "this is ...", and how its model gets here."""

    what: str
    way: str


CALLABLE = "Give a function of yours that makes the module: ./FILE.py:NAME."

_EXPORTED = (
    "It was made from a module: give that one, by a function of yours that makes it, "
    "./FILE.py:NAME, or save it with torch.export as a .pt2."
)

_SUFFIXES: Mapping[str, str] = {
    ".engine": "a TensorRT engine",
    ".plan": "a TensorRT engine",
    ".trt": "a TensorRT engine",
    ".tflite": "a TensorFlow Lite model",
    ".pb": "a TensorFlow graph",
    ".h5": "a Keras model",
    ".keras": "a Keras model",
    ".mlmodel": "a Core ML model",
    ".mlpackage": "a Core ML model",
    ".xml": "an OpenVINO model",
    ".pdmodel": "a Paddle model",
    ".pdparams": "Paddle weights",
    ".pdiparams": "Paddle weights",
    ".param": "an ncnn model",
    ".mnn": "an MNN model",
    ".rknn": "an RKNN model",
    ".npz": "an archive of arrays",
}


class Strangers:
    """Claims a file that is no list of rows, and refuses it with what it is."""

    def claims(self, reference: str) -> bool:
        return recognised(reference) is not None

    def resolve(self, model: Model) -> Model:
        raise self._refusal(model)

    def runs_code(self, model: Model) -> bool:
        return False

    def check(self, model: Model, imgsz: tuple[int, int]) -> None:
        raise self._refusal(model)

    def build(self, model: Model, device: str) -> Built:
        raise self._refusal(model)

    def _refusal(self, model: Model) -> UsageError:
        kind = recognised(model.reference)
        assert kind is not None  # it was claimed
        return UsageError(f"this is {kind.what}", where=model.reference, hint=kind.way)


def recognised(reference: str) -> Kind | None:
    """What the file is, if it is no model file and its kind is known; only its head, its names or
    its syntax are looked at."""
    path = Path(reference)
    try:
        if path.is_dir():
            return _folder(path) if "/" in reference or "\\" in reference else None
        return _file(path) if is_ordinary(path) else None
    except (OSError, ValueError):  # ValueError: a NUL in the path
        return None


def _folder(path: Path) -> Kind | None:
    if path.suffix in _SUFFIXES:
        return Kind(_SUFFIXES[path.suffix], _EXPORTED)
    if (path / "saved_model.pb").is_file():
        return Kind("a TensorFlow model", _EXPORTED)
    what = "a folder without a config.json, so it is not one of Hugging Face's"
    return Kind(what, "Name a file in it.")


def _file(path: Path) -> Kind | None:
    with path.open("rb") as file:
        head = file.read(16)
        if head.startswith(b"PK\x03\x04"):
            return _archive(path)
        if head[:1] == b"\x80" and head[1:2] in b"\x02\x03\x04\x05":
            file.seek(0)
            return _pickle(file)
    if head[8:9] == b"{" and head[6:8] == b"\0\0":
        what = "a file of weights (safetensors) without the model that they are for"
        return Kind(what, "Give the folder that has its config.json, or save them as a state_dict.")
    suffix = path.suffix.lower()
    if suffix in _SUFFIXES:
        return Kind(_SUFFIXES[suffix], _EXPORTED)
    if suffix == ".py":
        return _python(path)
    if suffix == ".ipynb":
        return Kind("a notebook", "Put the function that makes the module into ./FILE.py:NAME.")
    return _yaml(path) if suffix in (".yaml", ".yml") else None


# --- archives and pickles ----------------------------------------------------------------------


def _archive(path: Path) -> Kind | None:
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
            pickled = next((name for name in names if name.endswith("/data.pkl")), None)
            if any(name.endswith("/constants.pkl") for name in names):
                what = "a TorchScript archive, which does not tell what it calls"
                return Kind(what, _EXPORTED)
            if any("/aotinductor/" in name for name in names):
                return Kind("a package of compiled code (AOTInductor)", _EXPORTED)
            if pickled is not None:
                with archive.open(pickled) as file:
                    return _pickle(file)
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError):
        return Kind("a zip archive that is broken or cut short", "Fetch it again.")
    return Kind(_SUFFIXES.get(path.suffix.lower(), "a zip archive"), _EXPORTED)


MOST_BYTES = 32 * 2**20
"""Of a pickle that are read. Weights lie beside it, and the largest detector's has 2 MB."""

_PLAIN = ("collections", "torch", "numpy", "builtins", "__builtin__", "_codecs", "copyreg")


@dataclass
class Pickled:
    """What stands in a pickle, in order: classes and functions by their full names, and texts."""

    names: list[str] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)

    @property
    def foreign(self) -> list[str]:
        """Names that loading it would import, other than torch's and Python's own."""
        plain = (name for name in self.names if name.partition(".")[0] not in _PLAIN)
        layers = (name for name in self.names if name.startswith("torch.nn.modules."))
        return [*dict.fromkeys((*plain, *layers))]

    @property
    def is_quantised(self) -> bool:
        return any("quantized" in name or "_rebuild_qtensor" in name for name in self.names)


def read_pickle(file: IO[bytes]) -> Pickled:
    """What stands in a pickle, or in several in a row, none of which is loaded."""
    found, texts = Pickled(), list[str]()
    for operation, argument in _operations(file):
        if operation == "GLOBAL":
            found.names.append(str(argument).replace(" ", "."))
        elif operation == "STACK_GLOBAL" and len(texts) > 1:
            found.names.append(".".join(texts[-2:]))
        elif isinstance(argument, str) and "UNICODE" in operation:
            texts.append(argument)
    found.texts = texts
    return found


def _operations(file: IO[bytes]) -> Iterator[tuple[str, object]]:
    limited = _Limited(file)
    while limited.left > 0:
        try:
            for operation, argument, _ in pickletools.genops(limited):
                yield operation.name, argument
        except Exception:  # its end, or what follows it: tensors' bytes in old files
            return


class _Limited(io.BytesIO):
    """As much of a file as is read of a pickle."""

    def __init__(self, file: IO[bytes]) -> None:
        super().__init__()
        self._file, self.left = file, MOST_BYTES

    def read(self, size: int | None = -1) -> bytes:
        return self._spent(
            self._file.read(self.left if size is None or size < 0 else min(size, self.left))
        )

    def readline(self, size: int | None = -1) -> bytes:
        return self._spent(self._file.readline(self.left))

    def _spent(self, read: bytes) -> bytes:
        self.left -= len(read)
        return read


def _pickle(file: IO[bytes]) -> Kind:
    found = read_pickle(file)
    if found.is_quantised:
        what = "a checkpoint of quantised tensors (int8), which are not counted"
        return Kind(what, "Give the model that it was made from, in floating point.")
    theirs = "train_args" in found.texts or any("ultralytics" in name for name in found.names)
    if found.foreign:
        loading = "loading it runs code"
        if not theirs:
            what = f"a pickled {_model_of(found)}: {loading}"
            return Kind(what, f"{CALLABLE} It may call torch.load, if you trust the file.")
        what = f"an Ultralytics checkpoint, which holds a pickled {_model_of(found)}: {loading}"
        return Kind(what, WAYS_OF_A_CHECKPOINT)
    keys = [text for text in found.texts if text.endswith((".weight", ".bias", ".running_mean"))]
    if not keys:
        return Kind("a pickle without a model", CALLABLE)
    what = f"a file of weights, such as {shorten(keys[0])}, without the model that they are for"
    return Kind(what, "Name the model, and give it these: detrbench latency MODEL --weights FILE.")


WAYS_OF_A_CHECKPOINT = (
    "Give ultralytics:FILE --trust, which has the installed ultralytics load it, or "
    "MODEL --weights FILE, which loads its weights alone into a model file's model."
)


def _model_of(found: Pickled) -> str:
    """The name of the outermost module that is pickled: the first one."""
    return shorten(found.foreign[0])


# --- Python and YAML ---------------------------------------------------------------------------


def _python(path: Path) -> Kind:
    try:
        body = ast.parse(path.read_bytes()).body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return Kind("a Python file that cannot be parsed", CALLABLE)
    if "_base_" in _assigned(body) or ("model" in _assigned(body) and _is_config(body)):
        what = "a configuration of mmdetection or its like: a dict for each part, no layers"
        way = "Give a function that has it built, as with mmdet.registry.MODELS.build(cfg.model):"
        return Kind(what, f"{way} ./FILE.py:NAME.")
    made = [node.name for node in body if isinstance(node, (ast.FunctionDef, ast.ClassDef))]
    if not made:
        return Kind("a Python file without a function or class that makes a model", CALLABLE)
    names = ", ".join(made[:5])
    what = f"a Python file, and what makes the model in it is not named; it has {names}"
    return Kind(what, f"Give ./{path.name}:{made[-1]}, or --blocks beside a model file.")


def _assigned(body: list[ast.stmt]) -> dict[str, ast.expr]:
    return {
        target.id: node.value
        for node in body
        if isinstance(node, ast.Assign)
        for target in node.targets
        if isinstance(target, ast.Name)
    }


def _is_config(body: list[ast.stmt]) -> bool:
    """Whether `model` is a dict, written with braces or `dict(...)`, that names its type."""
    value = _assigned(body)["model"]
    if isinstance(value, ast.Dict):
        return any(isinstance(key, ast.Constant) and key.value == "type" for key in value.keys)
    is_call = isinstance(value, ast.Call) and isinstance(value.func, ast.Name)
    return is_call and any(keyword.arg == "type" for keyword in value.keywords)  # type: ignore[attr-defined]


def _yaml(path: Path) -> Kind | None:
    try:
        top = read_yaml(path).value
    except SpecError:  # the reader of model files says it better
        return None
    if not isinstance(top, Mapping) or {"backbone", "head"} & top.keys():
        return None
    if "__include__" in top or _text(top, "model") in top:
        return _official(top)
    if {"_BASE_", "architecture"} & top.keys():
        what = "a PaddleDetection configuration: settings of classes, not a list of rows"
        return Kind(what, "Take the model's PyTorch port, or a model file of the same layers.")
    if "MODEL" in top or "_BASE" in top:
        what = "a Detectron2 configuration: settings of classes, not a list of rows"
        return Kind(what, f"{CALLABLE} It may call detectron2.modeling.build_model.")
    if {"train", "val"} <= top.keys():
        return Kind("the description of a data set", "Name the file that lists the layers.")
    if {"mode", "epochs"} <= top.keys():
        named = _text(top, "model") or "its `model`"
        return Kind("the arguments of a training", f"Name the model itself, which is {named}.")
    return None


def _official(top: Mapping[str, Node]) -> Kind:
    """RT-DETR's own format, which D-FINE and DEIM share: a mapping for each class."""
    depth = top["PResNet"].value if "PResNet" in top else None
    size = depth["depth"].text if isinstance(depth, Mapping) and "depth" in depth else ""
    near = [name for name in model_names() if name in (f"rtdetr-r{size}", f"rtdetr-resnet{size}")]
    ours = f" A model of that backbone's depth comes with detrbench: {near[0]}." if near else ""
    what = "a configuration of RT-DETR, D-FINE or DEIM: settings of classes, not a list of rows"
    way = "Give a function that has it built by its repository, as YAMLConfig(FILE).model does:"
    return Kind(what, f"{way} ./FILE.py:NAME.{ours}")


def _text(top: Mapping[str, Node], key: str) -> str:
    return top[key].text if key in top else ""
