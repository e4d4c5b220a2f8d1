"""The user's own Python: it finds its neighbours, and never those of another folder."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from detrbench.core.errors import UsageError
from detrbench.models import usercode
from detrbench.models.usercode import beside, closure, imported, module_file, run_file, run_module


@pytest.fixture(autouse=True)
def nobody_came_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """As in a process that has used no folder yet; what a test imports goes with it."""
    path, finders = list(sys.path), list(sys.meta_path)
    monkeypatch.setattr(usercode, "_used", {})
    monkeypatch.setattr(usercode, "_open", None)
    yield
    for name, module in list(sys.modules.items()):
        if str(vars(module).get("__file__")).startswith(str(tmp_path)):
            del sys.modules[name]
    sys.path[:], sys.meta_path[:] = path, finders


def files(root: Path, **texts: str) -> Path:
    """Files under `root`: `parts__deep` is parts/deep.py, `parts__init` is parts/__init__.py."""
    for name, text in texts.items():
        *folders, stem = name.split("__")
        file = root.joinpath(*folders, f"{'__init__' if stem == 'init' else stem}.py")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    return root


def run(file: Path) -> Any:
    return run_file(file, flag="--blocks")


# --- neighbours ---


def test_a_neighbour_is_found(tmp_path: Path) -> None:
    files(tmp_path, mine="import helper\nVALUE = helper.VALUE + 1\n", helper="VALUE = 1\n")
    assert run(tmp_path / "mine.py").VALUE == 2


def test_packages_beside_it_are_found_with_their_own_relative_imports(tmp_path: Path) -> None:
    files(
        tmp_path,
        mine="from parts.deep import VALUE\nimport parts.other as other\n",
        parts__init="",
        parts__deep="from .other import VALUE\nfrom . import other\n",
        parts__other="VALUE = 7\n",
    )
    module = run(tmp_path / "mine.py")
    assert module.VALUE == module.other.VALUE == 7


def test_it_is_run_once_and_known_by_a_name_of_its_own(tmp_path: Path) -> None:
    files(tmp_path, mine="class Block: pass\n")
    module = run(tmp_path / "mine.py")
    assert run(tmp_path / "mine.py") is module
    assert sys.modules[module.Block.__module__] is module, "where pickle looks"
    assert module.__file__ == str(tmp_path / "mine.py")


def test_nothing_is_written_beside_it(tmp_path: Path) -> None:
    files(tmp_path, mine="")
    run(tmp_path / "mine.py")
    assert [each.name for each in tmp_path.iterdir()] == ["mine.py"]


@pytest.mark.parametrize("loaded", [False, True])
def test_the_standard_library_is_not_shadowed(tmp_path: Path, loaded: bool) -> None:
    """Neither for the file nor for what it imports, loaded before or not."""
    name = "random" if loaded else "tabnanny"
    assert (name in sys.modules) is loaded
    text = f"import {name}\nFILE = {name}.__file__\n"
    files(tmp_path, mine=f"{text}import helper\n", helper=text, **{name: "raise SystemExit('I')"})
    module = run(tmp_path / "mine.py")
    assert not module.FILE.startswith(str(tmp_path))
    assert module.helper.FILE == module.FILE


def test_a_file_named_like_a_module_that_this_python_lacks_is_a_neighbour(tmp_path: Path) -> None:
    name = "winreg" if os.name != "nt" else "pwd"
    files(tmp_path, mine=f"import {name}\nVALUE = {name}.VALUE\n", **{name: "VALUE = 1\n"})
    assert run(tmp_path / "mine.py").VALUE == 1


def test_a_neighbour_comes_before_what_lies_on_the_path_elsewhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`python -m` puts the current folder first, and whoever calls the library has one too."""
    files(tmp_path / "here", helper="VALUE = 'wrong'\n", common="VALUE = 'shared'\n")
    files(tmp_path / "a", mine="import helper, common\nVALUES = helper.VALUE, common.VALUE\n")
    files(tmp_path / "a", helper="VALUE = 'right'\n")
    monkeypatch.syspath_prepend(str(tmp_path / "here"))
    assert run(tmp_path / "a" / "mine.py").VALUES == ("right", "shared")


def test_modules_of_the_process_itself_are_neither_used_nor_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A script that calls the library has imported its own helper before."""
    files(tmp_path / "here", helper="VALUE = 'the script’s'\n", other="import helper\n")
    files(tmp_path / "a", mine="import helper\nVALUE = helper.VALUE\n", helper="VALUE = 'a'\n")
    monkeypatch.syspath_prepend(str(tmp_path / "here"))
    import helper  # type: ignore[import-not-found]

    path = list(sys.path)
    assert run(tmp_path / "a" / "mine.py").VALUE == "a"
    assert sys.modules["helper"] is helper
    assert sys.path == path
    import other  # type: ignore[import-not-found]

    assert other.helper is helper


def test_a_script_keeps_its_own_modules_when_its_folder_is_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files(tmp_path, helper="VALUE = 1\n", mine="import helper\nVALUE = helper.VALUE\n")
    files(tmp_path / "b", mine="VALUE = 2\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    import helper

    path = list(sys.path)
    assert run(tmp_path / "mine.py").helper is helper
    assert run(tmp_path / "b" / "mine.py").VALUE == 2
    assert sys.modules["helper"] is helper
    assert sys.path == path


def test_an_imported_neighbour_stays_for_what_comes_later(tmp_path: Path) -> None:
    """As long as one folder is all there is: a forward may import something when it is called."""
    files(
        tmp_path,
        mine="import first\ndef late():\n    import second, first\n    return second, first\n",
        first="",
        second="",
    )
    module = run(tmp_path / "mine.py")
    assert module.late() == (sys.modules["second"], module.first)


# --- two folders ---


@pytest.mark.parametrize("order", ["ab", "ba", "aba"])
def test_two_folders_never_see_each_others_helper(tmp_path: Path, order: str) -> None:
    for name in "ab":
        files(
            tmp_path / name,
            mine="import helper\nimport parts.deep\n"
            "def build():\n    import helper, late\n"
            "    return helper.NAME, late.NAME, parts.deep.NAME\n",
            helper=f"NAME = '{name}'\n",
            late=f"import helper\nNAME = helper.NAME + '{name}'\n",
            parts__deep=f"NAME = '{name}'\n",
        )
    for name in order:
        module = run(tmp_path / name / "mine.py")
        with beside(tmp_path / name):
            assert module.build() == (name, 2 * name, name)


def test_what_only_the_other_folder_has_is_not_there(tmp_path: Path) -> None:
    files(tmp_path / "a", mine="import only_a\n", only_a="")
    files(tmp_path / "b", mine="import only_a\n")
    run(tmp_path / "a" / "mine.py")
    with pytest.raises(UsageError, match="No module named 'only_a'"):
        run(tmp_path / "b" / "mine.py")
    assert "only_a" not in sys.modules
    assert str(tmp_path / "a") not in sys.path


@pytest.mark.parametrize("how", ["insert(0, lib)", "append(lib)", "insert(1, lib)"])
def test_what_their_code_puts_on_the_path_stays_their_own(tmp_path: Path, how: str) -> None:
    for name in "ab":
        files(
            tmp_path / name / "models",
            mine="import sys\nfrom pathlib import Path\n"
            "lib = str(Path(__file__).resolve().parents[1] / 'lib')\n"
            f"sys.path.{how}\nimport common.layers\nNAME = common.layers.NAME\n"
            "def build():\n    import common.late\n    return common.late.NAME\n",
        )
        files(tmp_path / name / "lib", common__layers=f"NAME = '{name}'\n")
        files(tmp_path / name / "lib", common__late=f"NAME = '{name}'\n")
    for name in "abba":
        module = run(tmp_path / name / "models" / "mine.py")
        with beside(tmp_path / name / "models"):
            assert [module.NAME, module.build()] == [name, name]
    assert not [each for each in sys.path if each.startswith(str(tmp_path))]


def test_what_is_put_away_is_still_told(tmp_path: Path) -> None:
    """For whoever must know what was imported at all."""
    for name in "ab":
        files(tmp_path / name, mine="import helper\n", helper="")
        run(tmp_path / name / "mine.py")
    found = {module.__file__ for name, module in imported() if name == "helper"}
    assert found == {str(tmp_path / name / "helper.py") for name in "ab"}


def test_one_folders_code_may_have_a_file_of_another_run(tmp_path: Path) -> None:
    files(
        tmp_path / "outer",
        mine="import helper\n"
        "def build(run, file):\n"
        "    inner = run(file)\n"
        "    import late\n"
        "    return helper.NAME, inner.NAME, late.NAME\n",
        helper="NAME = 'outer'\n",
        late="import helper\nNAME = helper.NAME\n",
    )
    files(tmp_path / "inner", mine="import helper\nNAME = helper.NAME\n", helper="NAME = 'inner'\n")
    module = run(tmp_path / "outer" / "mine.py")
    with beside(tmp_path / "outer"):
        assert module.build(run, tmp_path / "inner" / "mine.py") == ("outer", "inner", "outer")


def test_installed_modules_are_everybodys(tmp_path: Path) -> None:
    for name in "ab":
        files(tmp_path / name, mine="import pytest, yaml, json\nMODULES = pytest, yaml, json\n")
    first, second = (run(tmp_path / name / "mine.py").MODULES for name in "ab")
    assert first == second
    assert first[0] is pytest
    assert sys.modules["pytest"] is pytest


# --- changed files ---


def test_changed_content_is_run_again(tmp_path: Path) -> None:
    files(tmp_path, mine="VALUE = 1\n")
    first = run(tmp_path / "mine.py")
    files(tmp_path, mine="VALUE = 2\n")  # of the same size, in the same second
    second = run(tmp_path / "mine.py")
    assert (first.VALUE, second.VALUE) == (1, 2)
    assert first.__name__ != second.__name__


def test_a_neighbours_changed_content_is_run_again(tmp_path: Path) -> None:
    text = "import helper\nVALUE = helper.VALUE\n"
    files(tmp_path, mine=text, helper="import deeper\nVALUE = deeper.VALUE\n", deeper="VALUE = 1\n")
    assert run(tmp_path / "mine.py").VALUE == 1
    files(tmp_path, deeper="VALUE = 22\n")
    assert run(tmp_path / "mine.py").VALUE == 22
    files(tmp_path / "b", mine="")
    run(tmp_path / "b" / "mine.py")
    files(tmp_path, deeper="VALUE = 333\n")
    assert run(tmp_path / "mine.py").VALUE == 333


def test_the_same_file_in_two_folders_is_two_modules(tmp_path: Path) -> None:
    for name in "ab":
        files(tmp_path / name, mine="WHERE = __file__\n")
    assert {run(tmp_path / name / "mine.py").WHERE for name in "ab"} == {
        str(tmp_path / name / "mine.py") for name in "ab"
    }


# --- what fails ---


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("def", r"not Python: .* \(line 1\)"),
        ("1 / 0", "running the file failed: ZeroDivisionError"),
        ("import absent", "No module named 'absent'"),
        ("raise SystemExit(0)", "running the file failed: SystemExit: 0"),
        ("import helper", "No module named 'gone'"),
    ],
)
def test_a_file_that_does_not_run(tmp_path: Path, text: str, part: str) -> None:
    files(tmp_path, mine=text, helper="import gone")
    before, path = set(sys.modules), list(sys.path)
    with pytest.raises(UsageError, match=part) as caught:
        run(tmp_path / "mine.py")
    assert caught.value.where == str(tmp_path / "mine.py")
    assert not [name for name in sys.modules.keys() - before if name.startswith("detrbench")]
    files(tmp_path, mine="VALUE = 1\n")
    assert run(tmp_path / "mine.py").VALUE == 1
    assert [each for each in sys.path if each not in path] == [str(tmp_path)]


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"no such file\n.*check --blocks"):
        run(tmp_path / "none.py")


# --- modules by name ---


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder that commands are given in."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_module_is_found_from_the_current_folder(here: Path) -> None:
    files(here, nets__init="", nets__small="from . import parts\nVALUE = parts.VALUE\n")
    files(here, nets__parts="import shared\nVALUE = shared.VALUE\n", shared="VALUE = 5\n")
    files(here, bare__small="VALUE = 6\n")
    assert module_file("nets.small") == (here, here / "nets" / "small.py")
    assert module_file("nets") == (here, here / "nets" / "__init__.py")
    assert module_file("bare.small") == (here, here / "bare" / "small.py")
    assert "nets" not in sys.modules
    assert run_module("nets.small").VALUE == 5
    assert run_module("bare.small").VALUE == 6


def test_a_module_is_found_among_what_is_installed(here: Path) -> None:
    (here / "rich").mkdir()  # a folder of data, of that name by chance
    _, file = module_file("rich.text")
    assert file.parts[-2:] == ("rich", "text.py")
    path = list(sys.path)
    assert Path(str(run_module("rich.text").__file__)).samefile(file)
    assert sys.path == path


@pytest.mark.parametrize(
    "name", ["absent", "absent.small", "nets.absent", "nets.small.absent", "sys"]
)
def test_a_module_that_is_not_there(here: Path, name: str) -> None:
    files(here, nets__init="", nets__small="")
    with pytest.raises(UsageError, match=rf"no module {name}\n.*FILE\.py:NAME"):
        module_file(name)


def test_a_module_of_pythons_own_name_is_pythons(here: Path) -> None:
    files(here, json="raise SystemExit('I am run')")
    _, file = module_file("json")
    assert here not in file.parents


def test_a_module_that_another_stands_in_for_is_refused(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was looked at and hashed must be what is used."""
    files(here, nets="")
    monkeypatch.setitem(sys.modules, "nets", ModuleType("nets"))
    with pytest.raises(UsageError, match=rf"gives None, not {here}/nets\.py\n.*\./FILE\.py:NAME"):
        run_module("nets")


@pytest.mark.parametrize("text", ["1 / 0", "raise SystemExit(0)", "import absent", "def"])
def test_a_module_that_cannot_be_imported(here: Path, text: str) -> None:
    files(here, nets=text)
    with pytest.raises(UsageError, match=r"nets: importing it failed: \w+: "):
        run_module("nets")


# --- which files it is ---


def names(found: Any) -> list[str]:
    return [Path(each.path).name for each in found]


def test_the_closure_is_everything_that_is_imported_from_beside(tmp_path: Path) -> None:
    files(
        tmp_path,
        mine="import plain\nimport parts.deep\nfrom parts import other, NAME\n"
        "from more.inner import thing\nimport torch, json, random\n"
        "def late():\n    from lazy import x\n    import detrbench\n",
        plain="import plain_too\n",
        plain_too="",
        lazy="x = 1\n",
        unused="",
        random="",
        detrbench="",
        parts__init="from . import by_init\nNAME = 1\n",
        parts__deep="from .sibling import x\nfrom ..plain import y\n",
        parts__sibling="",
        parts__other="",
        parts__by_init="",
        parts__unused="",
        more__inner="thing = 1\n",
    )
    found = closure(tmp_path / "mine.py", tmp_path)
    assert names(found)[0] == "mine.py"
    expected = "by_init deep detrbench inner lazy mine other plain plain_too sibling __init__"
    assert sorted(names(found)) == sorted(f"{name}.py" for name in expected.split())
    assert all(len(each.sha256) == 64 for each in found)


def test_the_packages_above_a_module_are_run_too(tmp_path: Path) -> None:
    files(tmp_path, a__init="import beside_a\n", beside_a="", a__b__init="", a__b__c="")
    found = closure(tmp_path / "a" / "b" / "c.py", tmp_path)
    assert sorted(names(found)) == ["__init__.py", "__init__.py", "beside_a.py", "c.py"]


def test_cycles_missing_files_and_what_is_no_python_confuse_nobody(tmp_path: Path) -> None:
    files(
        tmp_path,
        mine="import mine, one, absent, broken, null\nfrom . import absent_too\n"
        "from ...... import far\nfrom .one import x\n",
        one="import two\n",
        two="import one\n",
        broken="def (",
        deep=f"x = {'(' * 5000}1{')' * 5000}\n",
    )
    (tmp_path / "null.py").write_bytes(b"x = '\0'")
    (tmp_path / "a.py").mkdir()
    found = closure(tmp_path / "mine.py", tmp_path)
    assert sorted(names(found)) == ["broken.py", "mine.py", "null.py", "one.py", "two.py"]
    assert names(closure(tmp_path / "deep.py", tmp_path)) == ["deep.py"]


def test_relative_imports_do_not_leave_the_root(tmp_path: Path) -> None:
    files(tmp_path, outside="", root__mine="from ..outside import x\nfrom .. import outside\n")
    assert names(closure(tmp_path / "root" / "mine.py", tmp_path / "root")) == ["mine.py"]


def test_files_are_named_from_here(here: Path) -> None:
    files(here, mine="import helper\n", helper="")
    found = closure(Path("mine.py"), here)
    assert [each.path for each in found] == ["mine.py", "helper.py"]


def test_compiled_neighbours_belong_to_it(tmp_path: Path) -> None:
    from importlib.machinery import EXTENSION_SUFFIXES

    files(tmp_path, mine="import fast\n")
    (tmp_path / f"fast{EXTENSION_SUFFIXES[0]}").write_bytes(b"\x7fELF")
    assert names(closure(tmp_path / "mine.py", tmp_path)) == [
        "mine.py",
        f"fast{EXTENSION_SUFFIXES[0]}",
    ]


def test_what_is_installed_is_not_followed(tmp_path: Path) -> None:
    root, file = module_file("rich.text")
    assert names(closure(file, root)) == ["text.py"]
    files(tmp_path, mine="import rich\n")
    assert names(closure(tmp_path / "mine.py", root)) == ["mine.py"]


def test_it_is_read_and_not_run(tmp_path: Path) -> None:
    files(tmp_path, mine="import helper\nraise SystemExit(9)\n", helper="raise SystemExit(9)\n")
    script = (
        "import sys; from pathlib import Path; from detrbench.models.usercode import closure; "
        f"found = closure(Path({str(tmp_path / 'mine.py')!r}), Path({str(tmp_path)!r})); "
        "sys.exit('torch' in sys.modules or len(found) != 2)"
    )
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0
