"""A revision's files, unpacked beside the working tree's."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from detrbench.compare.revisions import file_of, unpacked
from detrbench.core.errors import UsageError


def git(folder: Path, *arguments: str) -> str:
    command = ["git", "-C", str(folder), "-c", "user.name=a", "-c", "user.email=a@b", *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    top = tmp_path / "a repository"
    (top / "models").mkdir(parents=True)
    git(top, "init", "--quiet", "--initial-branch=main")
    (top / "models" / "mine.yaml").write_text("old")
    git(top, "add", ".")
    git(top, "commit", "--quiet", "-m", "old")
    (top / "models" / "mine.yaml").write_text("new")
    (top / "models" / "other.yaml").write_text("new")
    return top


def test_files_are_as_the_revision_had_them(repository: Path) -> None:
    mine = repository / "models" / "mine.yaml"
    with unpacked("main", mine) as revision:
        there = revision.counterpart(mine)
        assert there is not None
        assert there.read_text() == "old"
        assert mine.read_text() == "new"
        assert revision.counterpart(repository / "models" / "other.yaml") is None
        assert revision.commit == git(repository, "rev-parse", "HEAD")
    assert not there.exists()
    assert git(repository, "status", "--short").split("\n")[0].strip() == "M models/mine.yaml"


def test_a_file_outside_is_refused(repository: Path, tmp_path: Path) -> None:
    stranger = tmp_path / "stranger.yaml"
    stranger.write_text("")
    mine = repository / "models" / "mine.yaml"
    with unpacked("main", mine) as revision, pytest.raises(UsageError, match="not in the git rep"):
        revision.counterpart(stranger)


@pytest.mark.parametrize("revision", ["nowhere", "main:models", "--help", ""])
def test_an_unknown_revision_is_named(repository: Path, revision: str) -> None:
    mine = repository / "models" / "mine.yaml"
    with pytest.raises(UsageError, match="no revision") as caught, unpacked(revision, mine):
        pass
    assert caught.value.where == "--rev"


def test_a_shallow_clone_says_so(repository: Path, tmp_path: Path) -> None:
    clone = tmp_path / "clone"
    git(tmp_path, "clone", "--quiet", "--depth=1", f"file://{repository}", str(clone))
    file = clone / "models" / "mine.yaml"
    with pytest.raises(UsageError, match="no revision") as caught, unpacked("HEAD~1", file):
        pass
    assert "fetch-depth" in str(caught.value.hint)


def test_no_repository_is_said(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text("")
    with pytest.raises(UsageError, match="not a git repository"), unpacked("main", file):
        pass


def test_a_reference_leads_to_what_the_revision_had_under_it(repository: Path) -> None:
    models = repository / "models"
    (models / "mine.py").write_text("old")
    git(repository, "add", ".")
    git(repository, "commit", "--quiet", "-m", "code")
    (models / "new.py").write_text("new")
    with unpacked("main", models / "mine.py") as revision:
        there = revision.folder / "models"
        assert revision.reference(str(models / "mine.yaml")) == str(there / "mine.yaml")
        assert revision.reference(f"{models}/mine.py:build") == f"{there}/mine.py:build"
        assert revision.reference(f"{models}/mine.py:Nets.small") == f"{there}/mine.py:Nets.small"
        assert revision.reference(f"{models}/new.py:build") is None


def test_a_plain_module_s_file_is_found_from_here(
    repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (repository / "models" / "plain_nets.py").touch()
    (repository / "models" / "package").mkdir()
    (repository / "models" / "package" / "__init__.py").touch()
    (repository / "models" / "package" / "nets.py").touch()
    monkeypatch.chdir(repository / "models")
    assert file_of("plain_nets:build").resolve() == repository / "models" / "plain_nets.py"
    for reference, file in {"package.nets:build": "package/nets.py", "package:build":
                            "package/__init__.py"}.items():  # fmt: skip
        with pytest.raises(UsageError, match="a package cannot be imported twice") as caught:
            file_of(reference)
        assert caught.value.where == reference
        assert f"{file}:build" in str(caught.value.hint)


@pytest.mark.parametrize(
    "reference", ["rtdetr-l", "none.yaml", "none.py:build", "models/none.yaml"]
)
def test_what_is_no_file_is_said(reference: str) -> None:
    with pytest.raises(UsageError, match="no such file") as caught:
        file_of(reference)
    assert caught.value.where == reference
