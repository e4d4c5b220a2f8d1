"""What a gate allows, from flags and from files."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from detrbench.cli import main
from detrbench.compare.gate.policy import ANY, LATENCY_INCREASE, Policy, load_policy, policy_of
from detrbench.core.errors import UsageError
from tests.compare.gates import run


def policy_file(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "policy.yaml"
    path.write_text(text)
    return path


def test_a_policy_from_a_file(tmp_path: Path) -> None:
    text = """
max_latency_increase: 3%
max_increase: {kernels: 10%, traffic_fused_bytes: any, params: 0}
max:
  params: 20M
  flops: 65
  latency_median_s: 12.5
"""
    found = load_policy(policy_file(tmp_path, text))
    assert found == Policy(
        0.03,
        {"kernels": 0.1, "traffic_fused_bytes": ANY, "params": 0.0},
        {"params": 20e6, "flops": 65e9, "latency_median_s": 0.0125},
    )
    assert found.to_dict()["max_increase"]["traffic_fused_bytes"] == "any"


def test_flags_have_the_last_word() -> None:
    file = Policy(0.03, {"kernels": 0.1, "params": 0.2}, {"params": 20e6})
    flags = policy_of(max_increase=["kernels=5%"], max=["flops=65"])
    assert file.overridden_by(flags) == Policy(
        0.03, {"kernels": 0.05, "params": 0.2}, {"params": 20e6, "flops": 65e9}
    )
    assert file.overridden_by(policy_of("8%")).latency_limit == 0.08
    assert Policy().latency_limit == LATENCY_INCREASE


WRONG: dict[str, tuple[str, list[str]]] = {
    "unknown key": ("max_latency: 5%", ["line 1", "max_latency", "max_latency_increase"]),
    "unknown metric": ("max: {param: 20M}", ["line 1", "'param'", "params"]),
    "no mapping": ("max: 20M", ["line 1", "mapping"]),
    "empty": ("max:", ["mapping"]),
    "list": ("- max", ["mapping"]),
    "no share": ("max_increase:\n  kernels: lots", ["line 2", "'lots'", "2%"]),
    "no limit": ("max_increase:\n  kernels:", ["line 2", "limit"]),
    "nested": ("max_latency_increase: {a: 1}", ["mapping", "limit"]),
    "increase of a time": ("max_increase: {latency_p99_s: 5%}", ["measured", "--max-latency"]),
    "limit without interval": ("max: {latency_p99_s: 5}", ["no interval", "latency_median_s"]),
    "higher is better": ("max: {images_per_s: 5}", ["less of images_per_s is not better"]),
    "neither is better": ("max: {params_unused: 5}", ["params_unused"]),
    "without a prefix": ("max: {params: 20000000}", ["20000000 M", "20M"]),
    "negative": ("max: {params: -3M}", ["'-3M'", "32.8M"]),
    "twice": ("max: {params: 1M, params: 2M}", ["twice"]),
    "beyond all": ("max_latency_increase: 500%", ["500%"]),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_policy_is_a_usage_error_with_its_place(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text, words = WRONG[name]
    (tmp_path / "run.json").write_text(json.dumps(run()))
    arguments = [str(tmp_path / "run.json"), "--baseline", str(tmp_path / "run.json")]
    path = policy_file(tmp_path, text)
    assert main(["gate", *arguments, "--policy", str(path)]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    for word in ("policy.yaml", *words):
        assert word in captured.err


@pytest.mark.parametrize(
    ("text", "share"), [("0", 0.0), ("0%", 0.0), ("0.0", 0.0), ("any", ANY), ("29%", 0.29)]
)
def test_shares(text: str, share: float) -> None:
    assert policy_of(text).max_latency_increase == share


@pytest.mark.parametrize("limit", ["macs=65 GFLOPs", "params=20 GFLOPs", "flops=65 GMACs"])
def test_a_limit_in_another_unit_is_refused(limit: str) -> None:
    with pytest.raises(UsageError, match=r"is not in (FLOPs|MACs)"):
        policy_of(max=[limit])


def test_a_limit_may_have_its_own_unit() -> None:
    assert policy_of(max=["flops=65 GFLOPs"]).max == {"flops": 65e9}
    assert policy_of(max=["macs=65GMACs"]).max == {"macs": 65e9}
