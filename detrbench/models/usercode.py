"""The user's own Python: which files it is, and running it so that it finds its neighbours.

A file's folder is looked in for what it imports, after the standard library and before everything
else, while the file is run and its functions build something. As long as one such folder was used
in this process, it stays, for what a forward imports; from the second one on, which may be the same
code at another revision, what was imported for a folder is put away when the work in it is done, so
that neither side ever sees the other's modules.
"""

from __future__ import annotations

import ast
import hashlib
import importlib
import importlib.util
import sys
import sysconfig
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import cache
from importlib.machinery import EXTENSION_SUFFIXES, ModuleSpec, PathFinder, SourceFileLoader
from pathlib import Path
from types import ModuleType

from detrbench.core.errors import UsageError
from detrbench.core.files import is_ordinary
from detrbench.models.model import File, hashed

_INSTALLED = frozenset(("site-packages", "dist-packages"))
_SHARED = tuple(
    Path(each).resolve()
    for each in (*map(sysconfig.get_path, ("stdlib", "platstdlib")), str(Path(__file__).parents[1]))
    if each is not None
)
RUN_AS = "detrbench_user_"


def run_file(file: Path, *, flag: str) -> ModuleType:
    """The module that a Python file makes; the same one each time, as long as it and what it
    imports are the same files. Raises UsageError where there is no such file, or running it fails.
    """
    if not is_ordinary(file):
        raise UsageError("there is no such file", where=str(file), hint=f"check {flag}.")
    path = file.resolve()
    with beside(path.parent):
        source = path.read_bytes()
        name = f"{RUN_AS}{file.stem}_{hashlib.sha256(bytes(path) + source).hexdigest()[:12]}"
        if name in sys.modules:
            return sys.modules[name]
        try:
            return _run(path, source, name)
        except SyntaxError as error:
            raise UsageError(
                f"the file is not Python: {error.msg} (line {error.lineno})",
                where=str(file),
                hint=f"check {flag}.",
            ) from error
        except (Exception, SystemExit) as error:
            raise UsageError(
                f"running the file failed: {type(error).__name__}: {error}",
                where=str(file),
                hint=_way_out(error) or f"try `python {file}` first.",
            ) from error


def _way_out(error: BaseException) -> str | None:
    """What lies in the current folder is not imported unasked: any file may be called like a module
    that somebody else needs."""
    name = error.name if isinstance(error, ModuleNotFoundError) else None
    top = (name or "").partition(".")[0]
    if not top:
        return None
    if not (Path(top).is_dir() or Path(top).with_suffix(".py").is_file()):
        return f"{top} is not installed here, nor does it lie beside the file: install it first."
    return f"{name} lies in the current folder: put PYTHONPATH=. before the command, or move it."


def _run(path: Path, source: bytes, name: str) -> ModuleType:
    """What is run are the bytes that were read, not what Python once compiled beside them."""
    spec = importlib.util.spec_from_loader(name, SourceFileLoader(name, str(path)))
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # where pickle and dataclasses look a class's module up
    try:
        exec(compile(source, str(path), "exec", dont_inherit=True), vars(module))
    except BaseException:
        del sys.modules[name]
        raise
    return module


def run_module(dotted: str) -> ModuleType:
    """The module of that name, from the current folder or from what is installed. Raises UsageError
    where there is none, importing it fails, or another of that name is in its place."""
    root, file = module_file(dotted)
    try:
        with beside(root):
            module = importlib.import_module(dotted)
    except (Exception, SystemExit) as error:
        raise UsageError(
            f"importing it failed: {type(error).__name__}: {error}", where=dotted
        ) from error
    if _origin(module) != file:
        raise UsageError(
            f"importing it gives {_origin(module)}, not {file}",
            where=dotted,
            hint="Give the module another name, or name its file: ./FILE.py:NAME.",
        )
    return module


# --- working in a folder -----------------------------------------------------------------------


@dataclass(eq=False)
class _Folder:
    """A folder whose files are run, and what that left in this process."""

    path: Path
    # What stands on sys.path for it, before and after everything else: it, and what its code put.
    front: list[str]
    back: list[str] = field(default_factory=list)
    modules: dict[str, ModuleType] = field(default_factory=dict)  # imported for it, by name
    files: dict[Path, str] = field(default_factory=dict)  # of these modules, and what was in them
    # The names of modules, and sys.path, as they are without it while it is open; and modules of
    # the process's own that are called like its files.
    known: frozenset[str] = frozenset()
    others: tuple[str, ...] = ()
    hidden: dict[str, ModuleType] = field(default_factory=dict)

    def open(self) -> None:
        """Let its modules be found, and none of that name from elsewhere."""
        self.hidden = _called_like_files_of(self.path)
        for name in self.hidden:
            del sys.modules[name]
        self.known, self.others = frozenset(sys.modules), tuple(sys.path)
        sys.modules.update(self.modules)
        sys.path[:] = [*self.front, *sys.path, *self.back]
        sys.meta_path.insert(0, self)
        importlib.invalidate_caches()

    def find_spec(self, name: str, path: object = None, target: object = None) -> ModuleSpec | None:
        """What belongs to Python is found although the folder has a file of that name."""
        if path is not None or name not in sys.stdlib_module_names:
            return None
        return PathFinder.find_spec(name, [p for p in sys.path if Path(p).resolve() != self.path])

    def note(self) -> None:
        """Remember what was imported, and put on sys.path, since it was opened."""
        own = [each for each in sys.path if each not in self.others]
        first = next((at for at, each in enumerate(sys.path) if each not in own), 0)
        self.front = list(dict.fromkeys((*own[:first], str(self.path))))
        self.back = [each for each in own if each not in self.front]
        for name, module in list(sys.modules.items()):
            if name not in self.known and self._is_for(name, module):
                self.modules[name] = module
                file = _origin(module)
                if file is not None and file not in self.files and file.is_file():
                    self.files[file] = _content(file)

    def close(self) -> None:
        """Put its modules away, and back what they stood in the place of."""
        self.note()
        for name in self.modules:
            sys.modules.pop(name, None)
        for path in (*self.front, *self.back):
            with suppress(ValueError):  # its code may have removed it
                sys.path.remove(path)
        with suppress(ValueError):
            sys.meta_path.remove(self)
        sys.modules.update(self.hidden)

    def forget(self) -> None:
        """Let whatever was made of its files be made again."""
        for name, module in list(sys.modules.items()):
            file = _origin(module)
            if name.startswith(RUN_AS) and file is not None and file.parent == self.path:
                del sys.modules[name]
        self.modules, self.files = {}, {}

    def _is_for(self, name: str, module: ModuleType) -> bool:
        """Whether a new module lies in the folder, or is one that is not found without it."""
        top, origin = name.partition(".")[0], _origin(module)
        if top in self.modules:
            return True
        if top in self.known or name.startswith(RUN_AS) or origin is None or is_shared(origin):
            return False
        if origin.is_relative_to(self.path):
            return True
        elsewhere = PathFinder.find_spec(top, list(self.others))
        return _origin(elsewhere) != _origin(sys.modules.get(top))


_used: dict[Path, _Folder] = {}
_working: list[_Folder] = []  # what a folder's code does may have a file of another one run
_open: _Folder | None = None


@contextmanager
def beside(folder: Path | None) -> Iterator[None]:
    """Inside, what is imported is looked for in `folder` too, and what came from there is known."""
    if folder is None or is_shared(folder):
        yield
        return
    mine = _used.setdefault(folder, _Folder(folder, [str(folder)]))
    if mine not in _working and any(_content(f) != known for f, known in mine.files.items()):
        _open_only(None)
        mine.forget()
    _working.append(mine)
    _open_only(mine)
    try:
        yield
    finally:
        mine.note()
        _working.pop()
        if _working:
            _open_only(_working[-1])
        elif len(_used) > 1 or mine.hidden:
            _open_only(None)


def _open_only(folder: _Folder | None) -> None:
    global _open
    if _open is not folder:
        if _open is not None:
            _open.close()
        _open = folder
        if folder is not None:
            folder.open()


def imported() -> list[tuple[str, ModuleType]]:
    """Every module of this process by name, also those that were put away."""
    away = [folder.modules for folder in _used.values() if folder is not _open]
    return [*sys.modules.items(), *(item for modules in away for item in modules.items())]


def _called_like_files_of(folder: Path) -> dict[str, ModuleType]:
    """Modules of the process's own that would be taken for a file in `folder`."""
    try:
        entries = list(folder.iterdir())
    except OSError:  # what may not be listed is not imported from
        return {}
    names = {each.stem for each in entries if each.suffix == ".py"}
    names |= {each.name for each in entries if (each / "__init__.py").is_file()}
    names -= sys.stdlib_module_names | {"__main__"}
    others = {name for name in names & sys.modules.keys() if _is_elsewhere(name, folder)}
    modules = list(sys.modules.items())
    return {name: one for name, one in modules if name.partition(".")[0] in others}


def _is_elsewhere(name: str, folder: Path) -> bool:
    """Whether a module is neither of `folder` nor installed, where everybody means the same."""
    origin = _origin(sys.modules[name])
    return origin is not None and not origin.is_relative_to(folder) and not is_shared(origin)


def _origin(found: ModuleType | ModuleSpec | None) -> Path | None:
    """The file of a module, or the folder of a package without one."""
    spec = found if isinstance(found, ModuleSpec) or not found else vars(found).get("__spec__")
    if not isinstance(spec, ModuleSpec):
        return None
    if spec.has_location and spec.origin is not None:
        return _resolved(Path.cwd() / spec.origin)
    places = spec.submodule_search_locations or ()
    return next((_resolved(Path.cwd() / each) for each in places), None)


@cache  # hundreds of modules are asked about after each file that is run, and always the same
def _resolved(path: Path) -> Path:
    return path.resolve()


def _content(file: Path) -> str:
    try:
        return hashlib.sha256(file.read_bytes()).hexdigest()
    except OSError:
        return ""


def imports_from(place: Path) -> Path:
    """The folder where a file's imports start, or a folder's of modules: one that is a package is
    imported by its name."""
    path = place.resolve()
    return path.parent if path.is_file() or (path / "__init__.py").is_file() else path


def modules_in(place: Path) -> tuple[Path, ...]:
    """The Python files that stand directly in a folder, in the order of their names, a package's
    own first; or the one file that it is."""
    if not place.is_dir():
        return (place,)
    return tuple(sorted(place.glob("*.py"), key=lambda file: (file.stem != "__init__", file.name)))


def run_folder(folder: Path, *, flag: str) -> tuple[ModuleType, ...]:
    """The modules of a folder, as they import each other, or as a package does. Raises
    UsageError where there are none, or one cannot be run."""
    files, root = modules_in(folder), imports_from(folder)
    if not files:
        raise UsageError("there is no Python file in it", where=str(folder), hint=f"check {flag}.")
    package = folder.resolve().name if files[0].stem == "__init__" else None
    with beside(root):
        if package is None:
            return tuple(_import_file(file, flag) for file in files)
        parts = ("" if file.stem == "__init__" else f".{file.stem}" for file in files)
        return tuple(_import(f"{package}{part}", str(folder)) for part in parts)


def _import_file(file: Path, flag: str) -> ModuleType:
    """As its neighbours import it, so that they share its classes, where that leads to it."""
    if file.stem.isidentifier() and file.stem not in sys.stdlib_module_names:
        module = _import(file.stem, str(file))
        if _origin(module) == file.resolve():
            return module
    return run_file(file, flag=flag)


def _import(dotted: str, where: str) -> ModuleType:
    try:
        return importlib.import_module(dotted)
    except (Exception, SystemExit) as error:
        raise UsageError(
            f"importing {dotted} failed: {type(error).__name__}: {error}",
            where=where,
            hint=_way_out(error),
        ) from error


def is_shared(path: Path) -> bool:
    """Whether it is Python's, ours, or of a package that was installed."""
    return not _INSTALLED.isdisjoint(path.parts) or any(map(path.is_relative_to, _SHARED))


# --- which files it is -------------------------------------------------------------------------


def module_file(dotted: str) -> tuple[Path, Path]:
    """The folder that a module's name starts from, and its file; nothing is imported. Raises
    UsageError where there is no such module."""
    parts = dotted.split(".")
    own = [] if parts[0] in sys.stdlib_module_names else [str(Path.cwd())]
    for place in (*own, *sys.path):
        root = Path(place).resolve()
        files = _module_paths(root.joinpath(*parts[:-1]), parts[-1:])
        file = next((each for each in files if each.is_file()), None)
        if file is not None:
            return root, file.resolve()
    raise UsageError(
        f"there is no module {dotted}",
        hint="Name it as Python imports it from this folder, or give a file: ./FILE.py:NAME.",
    )


def closure(file: Path, root: Path) -> tuple[File, ...]:
    """`file` and every file under `root` that it imports, and those import; read, not run.

    What is imported by a name that is made while running is not seen. What is ours or installed is
    not followed: it is thousands of files, and their versions say what they are.
    """
    found: dict[Path, File] = {}
    waiting = [file, *_packages(file.resolve(), root)]
    while waiting:
        path = waiting.pop(0)
        if path.resolve() not in found:
            found[path.resolve()] = hashed(path)
            waiting.extend(each for each in _imported(path, root) if not is_shared(each.resolve()))
    return tuple(found.values())


def _packages(file: Path, root: Path) -> Iterator[Path]:
    """What is run before a module of a package is."""
    inside = file.is_relative_to(root) and not is_shared(file)
    for folder in file.parents if inside else ():
        if folder == root:
            return
        if (folder / "__init__.py").is_file():
            yield folder / "__init__.py"


def _imported(file: Path, root: Path) -> Iterator[Path]:
    if file.suffix != ".py":
        return
    try:
        tree = ast.parse(file.read_bytes())
    except (SyntaxError, ValueError, RecursionError, MemoryError):  # running it will say so
        return
    for node in ast.walk(tree):
        for folder, parts in _names(node, file.absolute(), root):
            yield from (path for path in _module_paths(folder, parts) if path.is_file())


def _names(node: ast.AST, file: Path, root: Path) -> Iterator[tuple[Path, list[str]]]:
    """Where the names of an import statement start, and the names."""
    if isinstance(node, ast.Import):
        names = [(0, alias.name.split(".")) for alias in node.names]
    elif isinstance(node, ast.ImportFrom):
        start = node.module.split(".") if node.module else []
        names = [(node.level, [*start, alias.name]) for alias in node.names]
    else:
        return
    for level, parts in names:
        if level and level <= len(file.parents) and file.parents[level - 1].is_relative_to(root):
            yield file.parents[level - 1], parts
        elif not level and parts[0] not in sys.stdlib_module_names:
            yield root, parts


def _module_paths(folder: Path, parts: Sequence[str]) -> Iterator[Path]:
    """The files that importing these names would run, if they are there, as Python prefers them."""
    for part in parts:
        yield folder / part / "__init__.py"
        yield from (folder / f"{part}{suffix}" for suffix in (*EXTENSION_SUFFIXES, ".py"))
        folder = folder / part
