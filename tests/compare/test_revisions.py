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


@pytest.mark.parametrize(
    ("reference", "there"),
    [
        ("{0}/detr", "{1}/detr"),
        ("{0}/detr/config.json", "{1}/detr/config.json"),
        ("{0}/net.pt2", "{1}/net.pt2"),
        ("{0}/net.onnx", "{1}/net.onnx"),
        ("ultralytics:{0}/mine.yaml", "ultralytics:{1}/mine.yaml"),
    ],
)
def test_models_of_every_source_are_found_in_the_revision(
    reference: str, there: str, repository: Path
) -> None:
    models = repository / "models"
    (models / "detr").mkdir()
    (models / "detr" / "config.json").write_text('{"model_type": "detr"}')
    for name in ("net.pt2", "net.onnx"):
        (models / name).write_bytes(b"any")
    git(repository, "add", ".")
    git(repository, "commit", "--quiet", "-m", "all kinds")
    asked = reference.format(models)
    with unpacked("main", file_of(asked)) as revision:
        assert revision.reference(asked) == there.format(models, revision.folder / "models")
    with unpacked("main~1", file_of(asked)) as revision:
        assert (revision.reference(asked) is None) is not asked.endswith("mine.yaml")


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


# --- what git has decides, and nothing else ------------------------------------------------------


def committed(repository: Path) -> None:
    git(repository, "add", "--all")
    git(repository, "commit", "--quiet", "-m", "more")


def test_attributes_decide_nothing(repository: Path) -> None:
    (repository / ".gitattributes").write_text(
        "models/mine.yaml export-ignore\nmodels/other.yaml export-subst\n*.yaml filter=none\n"
    )
    (repository / "models" / "other.yaml").write_text("$Format:%H$")
    committed(repository)
    with unpacked("main", repository / "models" / "mine.yaml") as revision:
        assert (revision.folder / "models" / "mine.yaml").read_text() == "new"
        assert (revision.folder / "models" / "other.yaml").read_text() == "$Format:%H$"


def test_links_that_lead_out_are_not_followed(repository: Path, tmp_path: Path) -> None:
    secret = tmp_path / "secret.yaml"
    secret.write_text("secret")
    models = repository / "models"
    (models / "absolute.yaml").symlink_to(secret)
    (models / "outward.yaml").symlink_to("../../secret.yaml")
    (models / "nowhere.yaml").symlink_to("none.yaml")
    (models / "up").symlink_to("..")
    (models / "through.yaml").symlink_to("up/../secret.yaml")
    (models / "same.yaml").symlink_to("mine.yaml")
    committed(repository)
    with unpacked("main", models / "mine.yaml") as revision:
        there = revision.folder / "models"
        assert (there / "same.yaml").read_text() == "new"
        assert (there / "up" / "models" / "mine.yaml").read_text() == "new"
        for name in ("absolute", "outward", "through"):
            assert not (there / f"{name}.yaml").is_symlink(), name
        assert not (there / "nowhere.yaml").exists()


def test_submodules_are_left_out(repository: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    git(other, "init", "--quiet")
    (other / "helper.py").write_text("")
    committed(other)
    git(repository, "-c", "protocol.file.allow=always", "submodule", "--quiet", "add", str(other))
    committed(repository)
    with unpacked("main", repository / "models" / "mine.yaml") as revision:
        assert not (revision.folder / "other").exists()
        assert revision.submodules == ("other",)
        assert (revision.folder / "models" / "mine.yaml").is_file()


def test_strange_names_and_bytes_arrive_as_they_are(repository: Path) -> None:
    content = bytes(range(256)) * 300
    (repository / "a\nb ü\t.bin").write_bytes(content)
    (repository / "empty").touch()
    committed(repository)
    with unpacked("main", repository / "models" / "mine.yaml") as revision:
        assert (revision.folder / "a\nb ü\t.bin").read_bytes() == content
        assert (revision.folder / "empty").read_bytes() == b""


def test_a_file_is_followed_to_where_it_was(repository: Path) -> None:
    models = repository / "models"
    text = "\n".join(f"row {number}" for number in range(50))
    (models / "mine.yaml").write_text(text)
    committed(repository)
    git(repository, "mv", "models/mine.yaml", "models/moved.yaml")
    (models / "moved.yaml").write_text(f"{text}\nand one more")
    with unpacked("main", models / "moved.yaml") as revision:
        there = revision.counterpart(models / "moved.yaml")
        assert there == revision.folder / "models" / "mine.yaml"
    (models / "mine.yaml").write_text("another one in its place")
    with unpacked("main", models / "mine.yaml") as revision:
        assert revision.counterpart(models / "mine.yaml") == revision.folder / "models/mine.yaml"
