"""Do the runtimes for graphs compute what PyTorch computes, of every detector?

    python benchmarks/runtimes_agree.py -o agree.json                       # about an hour
    python benchmarks/runtimes_agree.py -o agree.json --models rtdetr-l     # one of them
    python benchmarks/runtimes_agree.py -o agree.json --summary             # what there is

Each model is exported at each size, and executed once by each runtime. Its outputs are compared
with eager's given the same selected queries, by the runtime itself as before every timing. What
cannot be exported, loaded or agreed with stands there with the reason. Every row is on disk before
the next; graphs go to a temporary cache. Nothing here is a time: other work may run beside.
"""

from __future__ import annotations

import argparse
import os
import tempfile

from keeping import Kept, arguments, dated, go_on, goal, names_of, note, save

from detrbench.core.errors import DetrbenchError, in_one_line
from detrbench.reports.case import Case
from detrbench.reports.parse_cases import make_cases
from detrbench.runtimes import NEEDS
from detrbench.timing.opened import Opened

MODELS = (
    *("rtdetr-l", "rtdetr-x", "rtdetr-resnet50", "rtdetr-resnet101", "rtdetr-r18", "rtdetr-r34"),
    *("shufflev2", "shufflev2-x0.5", "shufflev2-x1.5", "shufflev2-x2.0", "shufflev2-se"),
    *("shufflev1", "mobilenetv1-x0.5", "mobilenetv2-x0.6", "xception", "densenet"),
    *("yolov8n", "yolo11n"),
)


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--models", type=names_of(MODELS, "model"), default=list(MODELS))
    parser.add_argument("--sizes", type=int, nargs="+", default=[320, 640])
    return go_on(arguments(parser), {"rows": []}, experiment, summary, ())


def experiment(asked: argparse.Namespace, kept: Kept) -> None:
    """Every row that is still missing."""
    done = {(row["model"], row["imgsz"], row["runtime"]) for row in kept["rows"]}
    for model in asked.models:
        for size in asked.sizes:
            missing = [name for name in NEEDS if (model, size, name) not in done]
            if not missing:
                continue
            with tempfile.TemporaryDirectory(prefix="detrbench-graphs-") as cache:
                os.environ["XDG_CACHE_HOME"] = cache
                settings = {"imgsz": [(size, size)], "runtime": missing}
                for case in make_cases([model], settings):
                    row = {"model": model, "imgsz": size, "runtime": case.execution.runtime}
                    kept["rows"].append(dated(row | _agreement(case)))
                    save(asked, kept)
                    note(_line(kept["rows"][-1]))


def _agreement(case: Case) -> Kept:
    opened = Opened(case)
    try:
        opened.step()
    except DetrbenchError as error:
        return {"wrong": in_one_line(error)}
    finally:
        opened.runtime.close()
    return dict(opened.runtime.prepared)


def _line(row: Kept) -> str:
    what = f"{row['model']} {row['imgsz']} {row['runtime']}"
    if "wrong" in row:
        return f"{what}: {row['wrong']}"
    return (
        f"{what}: {row['agreement']:.1e} of the largest value (tolerance {row['tolerance']:.0e}), "
        f"{row['file_bytes'] / 1e6:.1f} MB"
    )


def summary(kept: Kept) -> str:
    """A line for each row, and how many agree."""
    rows = kept["rows"]
    agree = sum("wrong" not in row for row in rows)
    told = f"{agree} of {len(rows)} are exported and agree"
    return "\n".join([*map(_line, rows), goal(told, agree == len(rows), "all")])


if __name__ == "__main__":
    raise SystemExit(main())
