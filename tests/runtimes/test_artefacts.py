from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from detrbench.core.processes import environment
from detrbench.runtimes import artefacts
from detrbench.runtimes.artefacts import (
    artefact,
    cache_folder,
    exporters,
    kept_facts,
    key_of,
    without_cache,
)


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path / "detrbench"


def writes(text: str, made: list[str] | None = None) -> Any:
    def make(folder: Path) -> Mapping[str, Any]:
        if made is not None:
            made.append(text)
        (folder / "file").write_text(text)
        return {"said": text}

    return make


def test_the_folder_is_the_users_cache(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert cache_folder() == cache
    for nothing in ("", "relative"):
        monkeypatch.setenv("XDG_CACHE_HOME", nothing)
        assert cache_folder() == Path.home() / ".cache" / "detrbench"


def test_without_the_cache_everything_is_made_anew_and_nothing_stays(cache: Path) -> None:
    made: list[str] = []
    artefact("kind", "key", writes("kept", made))
    with without_cache(False):
        artefact("kind", "key", writes("kept", made))
    assert made == ["kept"]
    with without_cache():
        place, _ = artefact("kind", "key", writes("anew", made))
        child = "from detrbench.runtimes.artefacts import cache_folder; print(cache_folder())"
        told = subprocess.run(
            [sys.executable, "-c", child], env=environment(), capture_output=True, text=True
        )
        assert told.stdout.split() == [str(cache_folder())], "also of processes started meanwhile"
        assert place.is_relative_to(cache_folder())
    assert made == ["kept", "anew"]
    assert not place.exists()
    assert cache_folder() == cache
    assert (cache / "kind" / "key" / "file").read_text() == "kept"


def test_what_is_there_is_not_made_again(cache: Path) -> None:
    made: list[str] = []
    for _ in range(2):
        place, facts = artefact("kind", "key", writes("one", made))
        assert (place, facts) == (cache / "kind" / "key", {"said": "one"})
        assert (place / "file").read_text() == "one"
    assert made == ["one"]
    assert kept_facts("kind", "key") == {"said": "one"}
    assert kept_facts("kind", "other") is None


def test_what_fails_leaves_nothing(cache: Path) -> None:
    def make(folder: Path) -> Mapping[str, Any]:
        (folder / "half").write_text("")
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        artefact("kind", "key", make)
    assert list((cache / "kind").iterdir()) == []


def test_another_process_that_was_first_is_believed(cache: Path) -> None:
    def make(folder: Path) -> Mapping[str, Any]:
        artefact("kind", "key", writes("theirs"))
        return writes("ours")(folder)  # type: ignore[no-any-return]

    place, _ = artefact("kind", "key", make)
    assert (place / "file").read_text() == "theirs"
    assert [each.name for each in place.parent.iterdir()] == ["key"]


def test_the_least_recently_used_go_first(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(artefacts, "MOST_BYTES", 7_000)  # of some 2,000 each
    for number in range(3):
        place, _ = artefact("kind", f"{number}", writes("x" * 1_000))
        os.utime(place / artefacts.FACTS, (number, number))
    assert kept_facts("kind", "0") is not None  # and used now
    artefact("kind", "3", writes("x" * 1_000))
    assert sorted(each.name for each in (cache / "kind").iterdir()) == ["0", "2", "3"]


def test_a_key_is_of_all_that_it_is_made_of() -> None:
    assert key_of({"a": 1, "b": 2}) == key_of({"b": 2, "a": 1})
    assert key_of({"a": 1}) != key_of({"a": 2})
    assert {"detrbench", "torch", "python"} <= exporters().keys()
