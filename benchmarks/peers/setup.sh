#!/usr/bin/env bash
# Makes benchmarks/peers/.venv: Ultralytics and its counter (AGPL-3.0), apart from detrbench, which
# neither ships nor imports them. With `models`, makes .venv-models instead: timm and transformers,
# above what detrbench's own .venv has (`make test` sets it up), which stays as it is.
# Run again, it does nothing unless the versions below changed.
set -euo pipefail
cd "$(dirname "$0")"

venv=.venv
packages=(ultralytics==8.4.190 ultralytics-thop==2.2.3 torch torchvision pyyaml)
python="${PYTHON:-python3}"
if [[ ${1:-} == models ]]; then
  venv=.venv-models
  packages=(timm==1.0.31 transformers==5.24.0)
  python=../../.venv/bin/python
fi
stamp="$venv/installed"

if [[ -f $stamp && "$(cat "$stamp")" == "${packages[*]}" ]]; then
  echo "benchmarks/peers/$venv is up to date"
  exit
fi
echo "installing ${packages[*]} into benchmarks/peers/$venv (a few minutes)"
[[ -x $venv/bin/python ]] || "$python" -m venv "$venv"
if [[ $venv == .venv-models ]]; then
  site='import sysconfig; print(sysconfig.get_path("purelib"))'
  "$python" -c "$site" >"$("$venv/bin/python" -c "$site")/detrbench_packages.pth"
fi
"$venv/bin/python" -m pip install --quiet --disable-pip-version-check "${packages[@]}"
echo "${packages[*]}" >"$stamp"
