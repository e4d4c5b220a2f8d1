"""Counts in a process of their own: what comes back, and what does not get out or in."""

from __future__ import annotations

import json
import subprocess
import sys
import warnings
from pathlib import Path

import pytest

from detrbench.core.errors import DetrbenchError, DetrbenchWarning, UsageError
from detrbench.counting.profiling import profile
from detrbench.counting.worker import COMMAND, Past, count_apart, environment
from detrbench.reports.case import Case
from detrbench.reports.parse_cases import make_cases

BUILD = """
from torch import nn
{more}
def build():
    return nn.Conv2d(3, {channels}, 1, bias=False)
"""


def cases(*references: str | Path) -> tuple[Case, ...]:
    return make_cases(references, {"imgsz": [(64, 64)]})


def written(file: Path, more: str = "", channels: int | str = 4) -> str:
    """The reference of a callable in `file`, whose model has 3 parameters per channel."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(BUILD.format(more=more, channels=channels))
    return f"{file}:build"


def test_a_report_comes_back_as_it_was_counted(tmp_path: Path) -> None:
    asked = cases("shufflev2-x0.5", written(tmp_path / "my.py"))
    report = count_apart(asked)
    assert report.rows == profile(asked).rows
    assert [row.case for row in report.rows] == list(asked)


NOISE = """
import os, subprocess, warnings
from detrbench.core.errors import DetrbenchWarning
import helper_of_the_worker
print("} not JSON")
os.write(1, b"{")
subprocess.run(["echo", "]"], check=True)
warnings.warn("nobody reads this")
warnings.warn("something skipped", DetrbenchWarning)
"""


def test_what_a_model_says_and_imports_disturbs_nothing(tmp_path: Path) -> None:
    """Print, the descriptor itself, a child; and a module that must not be known here."""
    (tmp_path / "helper_of_the_worker.py").touch()
    reference = written(tmp_path / "my.py", NOISE)
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        report = count_apart(cases(reference))
    assert report.rows[0].metrics["params"] == 12
    assert "helper_of_the_worker" not in sys.modules
    assert [(str(one.message), one.category) for one in said] == [
        ("something skipped", DetrbenchWarning)
    ]


def test_a_usage_error_comes_back_whole(tmp_path: Path) -> None:
    asked = cases(written(tmp_path / "my.py", channels="None"))
    with pytest.raises(UsageError) as here:
        profile(asked)
    with pytest.raises(UsageError) as there:
        count_apart(asked)
    assert str(there.value) == str(here.value)
    assert there.value.exit_code == 2


ENDS = {
    "os._exit(3)": "ended with exit code 3 and no result",
    "os.kill(os.getpid(), 9)": "was ended by signal 9",
    "print('last words', file=sys.stderr); sys.exit(5)":
        "ended with exit code 5 and no result (last words)",
}  # fmt: skip


@pytest.mark.parametrize("end", ENDS)
def test_a_process_that_gives_no_answer_is_said_with_how_it_ended(tmp_path: Path, end: str) -> None:
    (case,) = cases(written(tmp_path / "my.py"))
    command = (sys.executable, "-S", "-c", f"import os, sys; sys.stdin.read(); {end}")
    with pytest.raises(DetrbenchError) as caught:
        count_apart([case], command=command)
    assert caught.value.where == case.name
    assert ENDS[end] in caught.value.what
    assert not isinstance(caught.value, UsageError)


def test_the_parent_needs_no_torch() -> None:
    code = "import sys, detrbench.counting.worker; assert not {'torch', 'numpy'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, env=environment())


# --- the past ------------------------------------------------------------------------------------


@pytest.fixture
def past(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Past:
    """A working tree, in a folder of which we are, and an earlier revision of it."""
    (tmp_path / "tree" / "here").mkdir(parents=True)
    (tmp_path / "then" / "here").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "tree" / "here")
    return Past(str(tmp_path / "tree"), str(tmp_path / "then"))


def both(past: Past, name: str) -> None:
    """A module in both, that says which it is."""
    for folder, channels in ((past.tree, 16), (past.folder, 8)):
        file = Path(folder, name)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"CHANNELS = {channels}\n")


def params(past: Past | None, more: str, folder: str) -> float | None:
    """Of a model `code/my.py` in `folder`, which imports what `more` says."""
    reference = written(Path(folder, "code", "my.py"), more, channels="CHANNELS")
    (row,) = count_apart(cases(reference), past).rows
    return row.metrics["params"]


def test_the_past_stands_where_its_user_stands(past: Past, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", ".")
    both(past, "here/helper.py")
    Path(past.folder, "here", "width").write_text("8")
    found = params(
        past, "from helper import CHANNELS\nassert open('width').read() == '8'", past.folder
    )
    assert found == 24
    assert params(None, "from helper import CHANNELS", past.tree) == 48


def test_nothing_is_imported_from_the_current_folder_alone(past: Past) -> None:
    both(past, "here/helper.py")
    with pytest.raises(UsageError, match=r"No module named 'helper'") as told:
        params(None, "from helper import CHANNELS", past.tree)
    assert "PYTHONPATH=." in (told.value.hint or "")


def test_a_folder_that_is_new_has_no_past(past: Past) -> None:
    Path(past.folder, "here").rmdir()
    Path(past.folder, "width").write_text("8")
    assert params(past, "CHANNELS = int(open('width').read())", past.folder) == 24


def test_import_paths_in_the_tree_are_those_of_the_past(
    past: Past, monkeypatch: pytest.MonkeyPatch
) -> None:
    both(past, "src/helper.py")
    monkeypatch.setenv("PYTHONPATH", str(Path(past.tree, "src")))
    assert params(past, "from helper import CHANNELS", past.folder) == 24


def test_a_revision_of_detrbench_itself_is_not_run(past: Past) -> None:
    package = Path(past.folder, "here", "detrbench")
    package.mkdir()
    (package / "__init__.py").write_text("raise SystemExit('the wrong one')")
    assert params(past, "CHANNELS = 8", past.folder) == 24


def test_what_is_of_the_working_tree_is_refused(past: Past) -> None:
    """However it came in: an installed copy's finder does the same as this."""
    both(past, "lib/helper.py")
    more = f"import sys; sys.path.insert(0, {past.tree + '/lib'!r}); from helper import CHANNELS"
    with pytest.raises(UsageError, match=r"imports helper from .*tree/lib/helper.py.* not as it"):
        params(past, more, past.folder)


def test_where_sides_meet_only_what_lies_beside_a_model_is_its_own(
    past: Past, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", ".")
    both(past, "code/helper.py")
    both(past, "here/shared.py")
    meeting = Past(past.tree, past.folder, beside=True)
    assert params(meeting, "from helper import CHANNELS", past.folder) == 24
    with pytest.raises(UsageError, match="imports shared, which does not lie beside it"):
        params(meeting, "from shared import CHANNELS", past.folder)


def test_nor_may_it_look_for_what_only_today_has(
    past: Past, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Counted alone it does without, as it did then."""
    monkeypatch.setenv("PYTHONPATH", ".")
    Path(past.tree, "here", "fast_ops.py").write_text("CHANNELS = 16")
    more = "try:\n    from fast_ops import CHANNELS\nexcept ImportError:\n    CHANNELS = 8"
    assert params(past, more, past.folder) == 24
    with pytest.raises(UsageError, match="looks for fast_ops, which there was not"):
        params(Past(past.tree, past.folder, beside=True), more, past.folder)


def test_the_command_is_its_own_documentation(tmp_path: Path) -> None:
    """A job by hand, as the module says."""
    (case,) = cases(written(tmp_path / "my.py"))
    job = json.dumps({"cases": [case.to_dict()], "past": None})
    done = subprocess.run(
        COMMAND, input=job, capture_output=True, text=True, check=True, env=environment()
    )
    answer = json.loads(done.stdout)
    assert set(answer) == {"report", "warnings"}
    assert answer["report"]["rows"][0]["metrics"]["params"] == 12


@pytest.mark.parametrize(
    "way",
    [
        "CHANNELS = int(open(TREE + '/here/width').read())",
        "import runpy; CHANNELS = runpy.run_path(TREE + '/here/width.py')['CHANNELS']",
        "import os; os.chdir(TREE); CHANNELS = int(open('here/width').read())",
    ],
)
def test_nothing_is_read_of_today_by_whatever_path(past: Past, way: str) -> None:
    Path(past.tree, "here", "width").write_text("16")
    Path(past.tree, "here", "width.py").write_text("CHANNELS = 16")
    with pytest.raises(UsageError, match=r"it reads .*width(\.py)?: as that is now, not as it was"):
        params(past, f"TREE = {past.tree!r}\n{way}", past.folder)


@pytest.mark.parametrize(
    "imported",
    [
        "from parts.fast_ops import CHANNELS",
        "import sys; sys.path.insert(0, PARTS); import fast_ops",
    ],
)
def test_what_a_submodule_holds_is_not_of_the_revision(past: Past, imported: str) -> None:
    """Not even where a model does without."""
    parts = Path(past.tree, "code", "parts")
    parts.mkdir(parents=True)
    (parts / ".git").write_text("gitdir: elsewhere")
    (parts / "fast_ops.py").write_text("CHANNELS = 16")
    there = str(Path(past.folder, "code", "parts"))
    more = f"CHANNELS = 8\nPARTS = {there!r}\ntry:\n    {imported}\nexcept ImportError:\n    pass"
    with pytest.raises(UsageError, match=r"looks for (parts|fast_ops), which is in a submodule"):
        params(past, more, past.folder)
