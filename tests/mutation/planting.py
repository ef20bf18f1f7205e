"""Plant one mutant at a time in a copy of the tree and name the test that noticed it."""

from __future__ import annotations

import importlib
import multiprocessing
import os
import shutil
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.mutation.mutants import Mutant

ROOT = Path(__file__).parents[2]
SEEDS = int(os.environ.get("STREAM_INFER_MUTANT_SEEDS", "120"))
_COPIED = ("stream_infer", "connectors", "ops", "benchmarks", "tests", "pyproject.toml")
# What all mutants import of others, once before the processes are forked.
_HEAVY = (
    *("ray", "ray.data", "torch", "pyarrow.parquet", "pyarrow.dataset", "sqlalchemy", "confluent_kafka", "obstore"),
    *("boto3", "pytest", "hypothesis", "hypothesis.stateful", "prometheus_client", "pydantic", "tenacity", "fsspec"),
    *("confluent_kafka.admin", "greenlet", "duckdb", "numpy", "orjson", "psycopg", "transformers"),
)


@dataclass(frozen=True)
class Outcome:
    """The result of a mutant.

    Attributes:
        by: what noticed it, or "" when it survived.
        broken: the tests could not even run: the mutant is no fault but a typing error.
    """

    mutant: Mutant
    by: str
    seconds: float
    broken: bool = False


def preload() -> None:
    """Import the heavy libraries."""
    for name in _HEAVY:
        importlib.import_module(name)


def plant(mutant: Mutant) -> Outcome:
    """Run the tests of the mutant, then the simulation, until something fails."""
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="mutant-") as folder:
        tree = Path(folder)
        for name in _COPIED:
            copy_of(ROOT / name, tree / name)
        mutant.plant(tree)
        by, broken = "", False
        for what in filter(None, (mutant.tests, "simulation")):
            code = _forked(tree, what, mutant)
            if code:
                by, broken = what, code not in (1, 3)
                break
    return Outcome(mutant, by, time.monotonic() - started, broken)


def copy_of(source: Path, target: Path) -> None:
    """Copy a file, or a folder without compiled files."""
    if source.is_dir():
        shutil.copytree(source, target, symlinks=True, ignore=shutil.ignore_patterns("__pycache__", ".*"))
    else:
        shutil.copy(source, target)


def _forked(tree: Path, what: str, mutant: Mutant) -> int:
    """Exit code of a process that runs the tests there: 0 all passed, 1 or 3 something failed, else it did not run."""
    process = multiprocessing.get_context("fork").Process(target=_child, args=(tree, what, mutant))
    process.start()
    process.join()
    return process.exitcode or 0


def _child(tree: Path, what: str, mutant: Mutant) -> None:
    os.chdir(tree)
    sys.path[:] = [
        str(tree),
        *(path for path in sys.path if path not in ("", str(ROOT))),
    ]
    for name in [
        name for name in sys.modules if name.partition(".")[0] in ("stream_infer", "connectors", "ops", "tests")
    ]:
        del sys.modules[name]
    log = os.open(tree / "log.txt", os.O_CREAT | os.O_WRONLY | os.O_TRUNC)
    os.dup2(log, 1)
    os.dup2(log, 2)
    code: Any = _simulated(mutant) if what == "simulation" else _tested(tree, what)
    os._exit(int(code))


def _tested(tree: Path, what: str) -> int:
    import hypothesis
    import pytest

    # that something fails is enough to know; its smallest example is for people, and takes minutes
    phases = (hypothesis.Phase.explicit, hypothesis.Phase.generate)
    hypothesis.settings.register_profile("mutant", deadline=None, phases=phases, database=None)
    quiet = ["-q", "-x", "-p", "no:cacheprovider", "--hypothesis-profile", "mutant"]
    quiet += ["--rootdir", str(tree), "-c", str(tree / "pyproject.toml")]
    # one database and one disk will do: a fault that only another store shows belongs to that store's own tests
    return int(pytest.main([*quiet, "-k", "not postgresql and not s3 and not obstore", *what.split()]))


def _simulated(mutant: Mutant) -> int:
    from tests.simulation.sim_case import Case
    from tests.simulation.sim_play import theatre
    from tests.simulation.sim_run import kept

    cases = [Case.of(seed) for seed in mutant.seeds]
    cases += [Case.from_json(file.read_text()) for file in kept()]
    with theatre() as perform:
        for case in cases:
            if perform(case).failure is not None:
                return 3
        for seed in range(SEEDS):
            if perform(Case.of(seed)).failure is not None:
                return 3
    return 0
