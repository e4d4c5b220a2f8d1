#!/usr/bin/env bash
# The CUDA tests and the article's pair in every setting, on one GPU, in under eight minutes.
#
#   benchmarks/on_gpu.sh FOLDER
#
# FOLDER gets one JSON report per setting (every sample in it), a log beside each, tests.log,
# machine.log, summary.md with all tables, and steps.log with what was done, failed or left out.
# Every setting is timed in one process first. What time is left then goes into the settings that
# are worth a verdict, which takes six processes.
#
# PYTHON   an interpreter that has torch with CUDA  (default: .venv/bin/python, else python3)
# LIMIT    seconds for everything                   (default: 465)
# DEVICE   cuda or cuda:N                           (default: cuda)
# MODELS, IMGSZ                                     (default: rtdetr-l shufflev2, 640)
#
# Nothing is fetched, and no setting of the GPU is changed.
set -uo pipefail
cd "$(dirname "$0")/.." || exit 1

if [[ $# -ne 1 ]]; then
    sed -n '2,/^set/{/^set/d;s/^# \{0,1\}//p}' "$0" >&2
    exit 2
fi
mkdir -p "$1" || exit 1
folder=$(cd "$1" && pwd)
PYTHON=${PYTHON:-$([[ -x .venv/bin/python ]] && echo .venv/bin/python || echo python3)}
LIMIT=${LIMIT:-465}
DEVICE=${DEVICE:-cuda}
read -ra models <<<"${MODELS:-rtdetr-l shufflev2}"
imgsz=${IMGSZ:-640}
failed=0

export PYTHONPATH="$PWD${PYTHONPATH:+:$PYTHONPATH}"
# Compiled once, ahead of all timing, and read from here by every later process.
TORCHINDUCTOR_CACHE_DIR=$(mktemp -d)
export TORCHINDUCTOR_CACHE_DIR
trap 'rm -rf "$TORCHINDUCTOR_CACHE_DIR"' EXIT

note() {
    printf '%4d s  %s\n' "$SECONDS" "$*" | tee -a "$folder/steps.log"
}

# limited SECONDS LOG COMMAND...: both streams into LOG; an interrupt first, so that it can report.
limited() {
    local seconds=$1 log=$2
    shift 2
    timeout --signal=INT --kill-after=10 "$seconds" "$@" >"$log" 2>&1 </dev/null
}

# step NAME SECONDS COMMAND...: with SECONDS at most, and left out when too few of them are left.
step() {
    local name=$1 seconds=$2 left=$((LIMIT - SECONDS)) code
    shift 2
    if ((left < 15)); then
        note "left out, the time is over: $name"
        return
    fi
    ((seconds < left)) || seconds=$left
    limited "$seconds" "$folder/$name.log" "$@"
    code=$?
    if ((code == 0)); then
        note "done: $name"
    else
        note "exit code $code: $name ($(tail -n 1 "$folder/$name.log"))"
        failed=1
    fi
}

# latency NAME SECONDS OPTION...: the models against each other, a report of that name.
latency() {
    local name=$1 seconds=$2
    shift 2
    step "$name" "$seconds" "$PYTHON" -m detrbench latency "${models[@]}" --device "$DEVICE" \
        --imgsz "$imgsz" --nc 1 -o "$folder/$name.json" "$@"
}

compile_ahead() {
    local model dtype batch left=$((LIMIT / 3)) jobs=()
    for dtype in float32 float16; do
        for batch in 1 8; do
            for model in "${models[@]}"; do
                limited "$left" "$folder/compile-$dtype-b$batch-$(basename "$model").log" \
                    "$PYTHON" -m detrbench latency "$model" --device "$DEVICE" --imgsz "$imgsz" \
                    --nc 1 --runtime compile --dtype "$dtype" --batch "$batch" \
                    --processes 1 --rounds 1 --format json &
                jobs+=($!)
            done
        done
    done
    wait "${jobs[@]}"
    note "done: compiling ahead"
}

: >"$folder/steps.log"
if ! "$PYTHON" -c '
import sys
from detrbench.runtimes.devices import open_device
from detrbench.core.errors import DetrbenchError
try:
    open_device(sys.argv[1])
except DetrbenchError as error:
    sys.exit(str(error))' "$DEVICE"; then
    note "there is nothing to run on"
    exit 2
fi

step machine 20 nvidia-smi -q
step tests 100 "$PYTHON" -m pytest -q -m cuda -p no:cacheprovider tests
compile_ahead
for cold in "" cold; do
    for batch in 1 8; do
        for dtype in float32 float16; do
            for runtime in eager cudagraph compile; do
                latency "${cold:-warm}-$dtype-$runtime-b$batch" 60 --runtime "$runtime" \
                    --dtype "$dtype" --batch "$batch" --processes 1 --rounds 40 \
                    ${cold:+--cold-l2}
            done
        done
    done
    if [[ -z $cold ]]; then
        for dtype in float32 float16; do
            latency "stages-$dtype-b1" 60 --stages --dtype "$dtype" --processes 1 --rounds 40
        done
    fi
done
for runtime in cudagraph eager compile; do
    latency "verdict-float16-$runtime-b1" 100 --runtime "$runtime" --dtype float16 --processes 6
done

"$PYTHON" - "$folder" <<'PYTHON' || failed=1
"""All reports of the folder as one document."""
import sys
from pathlib import Path

from detrbench.render import render
from detrbench.reports.report import Report

folder = Path(sys.argv[1])
with (folder / "summary.md").open("w") as summary:
    for path in sorted(folder.glob("*.json")):
        report = Report.from_json(path.read_text())
        summary.write(f"## {path.stem}\n\n{render(report, 'markdown')}\n")
PYTHON
note "over; see $folder/summary.md"
exit "$failed"
