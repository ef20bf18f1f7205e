#!/usr/bin/env bash
# Ray: ray.init() writes into the caller's _system_config, and the next Ray spills into the folder of the one before.
#
# Version:  ray 2.60.0
# Expected: ray.init(_system_config=CONFIG) reads the dict. A constant can be given to each start; each session spills objects into
#           its own session folder, as it does without a _system_config.
# Seen:     the first start adds three entries to CONFIG, among them the spill folder of its session. The second start reads that
#           entry as the caller's setting: its objects go into the folder of the first session, which has ended.
# Here:     stream_infer/execution/cluster.py gives a copy for this reason.
#
# Exit: 0 while it is so, 1 when it has changed. Another version: VERSION=2.61.0 before it.
set -euo pipefail

VERSION="${VERSION:-2.60.0}"
folder="$(mktemp -d /tmp/ray.XXXXXX)" # a short path: Ray keeps sockets in it
trap 'rm -rf "$folder"' EXIT

"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet "ray==$VERSION"

RAY_USAGE_STATS_ENABLED=0 RAY_AUTH_MODE=disabled "$folder/venv/bin/python" - "$folder/sessions" <<'PYTHON'
import logging
import pathlib
import sys

import ray

FOLDER = pathlib.Path(sys.argv[1])
CONFIG = {"task_events_report_interval_ms": 0}


def start(config):
    """Start a Ray, fill its object store twice over, stop it: its session, and the sessions whose folders hold its objects."""
    files_before = set(FOLDER.glob("session_2*/**/ray_spilled_objects*/*"))
    ray.init(
        address="local",
        _system_config=config,
        _temp_dir=str(FOLDER),
        object_store_memory=80 << 20,
        num_cpus=1,
        include_dashboard=False,
        log_to_driver=False,
        logging_level=logging.ERROR,
    )
    session = (FOLDER / "session_latest").resolve().name
    references = [ray.put(bytes(20 << 20)) for _ in range(8)]
    new_files = set(FOLDER.glob("session_2*/**/ray_spilled_objects*/*")) - files_before
    del references
    ray.shutdown()
    return session, {file.relative_to(FOLDER).parts[0] for file in new_files}


first, first_folders = start(CONFIG)
added = sorted(CONFIG.keys() - {"task_events_report_interval_ms"})
second, second_folders = start(CONFIG)
third, third_folders = start({"task_events_report_interval_ms": 0})

names = {first: "session 1", second: "session 2", third: "session 3"}


def show(folders):
    """The sessions of the folders, in words."""
    return ", ".join(sorted(names.get(folder, folder) for folder in folders)) or "nowhere"


print(f"ray {ray.__version__}: one dict given to two starts as _system_config")
print("  expected: the dict stays as it is, each session spills into its own folder")
print(f"  seen, entries that ray.init added to the dict:         {added}")
print(f"  seen, session 1 spills into the folder of:             {show(first_folders)}")
print(f"  seen, session 2, same dict, spills into the folder of: {show(second_folders)}")
print(f"  control, session 3, fresh dict, into the folder of:    {show(third_folders)}")

controls = first_folders == {first} and third_folders == {third} and len(names) == 3
as_described = controls and "object_spilling_config" in added and second_folders == {first}
print("AS DESCRIBED" if as_described else "CHANGED")
raise SystemExit(0 if as_described else 1)
PYTHON
