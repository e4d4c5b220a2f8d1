"""Runs the steps of action.yml here, as GitHub's runner would: bash, files for outputs, no more.

    python -m tests.actions --rev HEAD~1 --imgsz 320 models/shufflev2.yaml

prints what the steps print, and at the end the summary that a reviewer would see. Every input of
the action is a flag. Steps that use other actions are left out: this machine is set up.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[1]
ACTION: dict[str, Any] = yaml.safe_load((ROOT / "action.yml").read_text(encoding="utf-8"))
SHELLS = {"bash": ["bash", "--noprofile", "--norc", "-eo", "pipefail"]}
"""What the runner starts for `shell: bash`, from "Workflow syntax" in GitHub's documentation."""

_EXPRESSION = re.compile(r"\$\{\{ (.+?) \}\}")
_OUTPUT = re.compile(r"steps\.([\w-]+)\.outputs\.([\w-]+)")
_CONDITION = re.compile(r"(\S+) (==|!=) '([^']*)'")


@dataclass(frozen=True)
class Job:
    """A job on this machine.

    Attributes:
        checkout: the working tree that the steps run in.
        folder: where the runner's own files lie.
        path: put before PATH.
    """

    checkout: Path
    folder: Path
    path: str

    @property
    def summary(self) -> str:
        """What the job's page shows."""
        file = self.folder / "summary.md"
        return file.read_text(encoding="utf-8") if file.exists() else ""

    def outputs(self, step: str) -> dict[str, str]:
        """What the step of this id or name has set."""
        file = self._output(step)
        lines = file.read_text(encoding="utf-8").splitlines() if file.exists() else []
        return dict(line.split("=", 1) for line in lines)

    def wants(self, step: Mapping[str, Any], inputs: Mapping[str, str]) -> bool:
        """Whether a step runs, the ones before it having succeeded."""
        return all(
            self._holds(condition, inputs)
            for condition in step.get("if", "").split(" && ")
            if condition
        )

    def _holds(self, condition: str, inputs: Mapping[str, str]) -> bool:
        match = _CONDITION.fullmatch(condition)
        assert match is not None, f"a condition that this runner cannot read: {condition}"
        name, how, text = match.groups()
        return (self._named(name, inputs) == text) == (how == "==")

    def _value(self, text: str, inputs: Mapping[str, str]) -> str:
        """A text with its expressions replaced."""
        return _EXPRESSION.sub(lambda match: self._named(match[1], inputs), text)

    def _named(self, name: str, inputs: Mapping[str, str]) -> str:
        output = _OUTPUT.fullmatch(name)
        if output is not None:
            return self.outputs(output[1]).get(output[2], "")
        assert name.startswith("inputs."), f"an expression that this runner cannot read: {name}"
        return inputs[name.removeprefix("inputs.")]

    def run(
        self, step: Mapping[str, Any], inputs: Mapping[str, str]
    ) -> subprocess.CompletedProcess[str]:
        """One `run` step, with the inputs that its environment asks for."""
        script = self.folder / "step.sh"
        script.write_text(step["run"], encoding="utf-8")
        own = {name: self._value(str(text), inputs) for name, text in step.get("env", {}).items()}
        return subprocess.run(
            [*SHELLS[step["shell"]], str(script)],
            cwd=self.checkout,
            env={**self._environment(), "GITHUB_OUTPUT": str(self._output(_id(step))), **own},
            capture_output=True,
            text=True,
            check=False,
        )

    def _output(self, step: str) -> Path:
        return self.folder / f"output-{step}"

    def _environment(self) -> dict[str, str]:
        inherited = {k: v for k, v in os.environ.items() if not k.startswith("GITHUB_")}
        return {
            **inherited,
            "PATH": f"{self.path}{os.pathsep}{os.environ['PATH']}",
            "CI": "true",
            "GITHUB_ACTIONS": "true",
            "GITHUB_ACTION_PATH": str(ROOT),
            "GITHUB_STEP_SUMMARY": str(self.folder / "summary.md"),
            "GITHUB_WORKSPACE": str(self.checkout),
            "RUNNER_TEMP": str(self.folder),
        }


def told_until_one_fails(
    job: Job, inputs: Mapping[str, str]
) -> Iterator[tuple[str, subprocess.CompletedProcess[str]]]:
    """The action's own steps run one after the other, each with its name, to the first failure."""
    for step in ACTION["runs"]["steps"]:
        if "run" in step and job.wants(step, inputs):
            done = job.run(step, inputs)
            yield step["name"], done
            if done.returncode:
                return


def _id(step: Mapping[str, Any]) -> str:
    return str(step.get("id", step["name"]))


def with_defaults(**inputs: str) -> dict[str, str]:
    """Every input of the action."""
    known = ACTION["inputs"]
    strange = set(inputs) - set(known)
    if strange:
        raise KeyError(f"the action has no input {strange}")
    return {name: inputs.get(name, str(known[name].get("default", ""))) for name in known}


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("models", nargs="+")
    for name, known in ACTION["inputs"].items():
        if name != "models":
            parser.add_argument(f"--{name}", default=None, help=known["description"])
    asked = {name.replace("_", "-"): value for name, value in vars(parser.parse_args()).items()}
    models = " ".join(asked.pop("models"))
    inputs = with_defaults(models=models, **{k: v for k, v in asked.items() if v is not None})
    with tempfile.TemporaryDirectory(prefix="detrbench-action-") as folder:
        job = Job(Path.cwd(), Path(folder), str(Path(sys.executable).parent))
        code = 0
        for name, done in told_until_one_fails(job, inputs):
            print(f"== {name}: exit code {done.returncode}\n{done.stdout}{done.stderr}", flush=True)
            code = done.returncode
        print(f"== The job's summary\n{job.summary}")
    return code


if __name__ == "__main__":
    sys.exit(main())
