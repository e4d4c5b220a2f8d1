#!/usr/bin/env bash
# Makes benchmarks/peers/.venv: Ultralytics and its counter (AGPL-3.0), apart from detrbench, which
# neither ships nor imports them. Run again, it does nothing unless the versions below changed.
set -euo pipefail
cd "$(dirname "$0")"

packages=(ultralytics==8.4.190 ultralytics-thop==2.2.3 torch torchvision pyyaml)
stamp=".venv/installed"

if [[ -f $stamp && "$(cat "$stamp")" == "${packages[*]}" ]]; then
  echo "benchmarks/peers/.venv is up to date"
  exit
fi
echo "installing ${packages[*]} into benchmarks/peers/.venv (a few minutes)"
[[ -x .venv/bin/python ]] || "${PYTHON:-python3}" -m venv .venv
.venv/bin/python -m pip install --quiet --disable-pip-version-check "${packages[@]}"
echo "${packages[*]}" >"$stamp"
