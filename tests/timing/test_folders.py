from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import pytest

from detrbench.core.errors import UsageError
from detrbench.timing.folders import naming, run_folder
from detrbench.timing.records import Outcome, save_outcome
from detrbench.timing.rounds import Progress

ANY = Progress("timing", 0.0, None, None)


@pytest.fixture(autouse=True)
def _temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))


def test_a_temporary_folder_tells_whose_it_is(tmp_path: Path) -> None:
    with run_folder(None, "latency") as folder:
        assert folder.parent == tmp_path
        assert folder.name.startswith("detrbench-latency-")
    assert folder.is_dir()


def refused(named: Path | None, measured_in: str | None = None) -> Path:
    """The folder of a run that is refused, before or after it has measured something."""
    folders = []
    with suppress(UsageError), run_folder(named, "latency") as folder:
        folders.append(folder)
        (folder / "G2").mkdir()
        if measured_in is not None:
            save_outcome(folder / measured_in, Outcome(1))
        raise UsageError("there is no CUDA")
    return folders[0]


@pytest.mark.parametrize("name", [None, "run"])
def test_what_is_refused_leaves_no_new_folder(tmp_path: Path, name: str | None) -> None:
    refused(None if name is None else tmp_path / name)
    assert list(tmp_path.iterdir()) == []


def test_refusal_is_not_kept_back() -> None:
    with pytest.raises(UsageError, match="no"), run_folder(None, "latency"):
        raise UsageError("no")


def test_a_folder_that_was_there_stays(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").touch()
    with pytest.raises(UsageError), run_folder(tmp_path, "latency"):
        raise UsageError("no")
    assert (tmp_path / "mine.txt").exists()


@pytest.mark.parametrize("part", [".", "G2"])
def test_what_was_measured_stays(part: str) -> None:
    folder = refused(None, measured_in=part)
    assert (folder / part / "process-01.json").is_file()


def test_where_samples_are_is_said_once_and_first(tmp_path: Path) -> None:
    said: list[object] = []
    progress = naming(tmp_path, said.append, said.append)
    assert progress is not None
    assert said == []
    progress(ANY)
    progress(ANY)
    assert said == [f"every process's samples are kept in {tmp_path}", ANY, ANY]


def test_without_anyone_to_tell_progress_is_what_it_is(tmp_path: Path) -> None:
    assert naming(tmp_path, None, None) is None
    told = naming(tmp_path, lambda text: None, None)
    assert told is not None
    told(ANY)
