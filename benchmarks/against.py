"""``python -m benchmarks.against CHECKOUT [ROW …]``: this tree against another checkout of it, by turns.

The other checkout has its own ``.venv`` (``make install``), of whatever version. Both serve the same pipeline files over the same
parts. Each figure is a ratio, this tree ÷ the other, turned so that more than 1 is better: the median of the turns' ratios with the
least and the most. CPU-seconds are those of all processes of the service.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import numpy as np
import psutil

from benchmarks.kit import DIGEST, ROOT, Kit, committed, produce, ready, service, start, until
from benchmarks.rows.objects import fill, source
from benchmarks.rows.quiet import visible_after
from benchmarks.texts import texts
from stream_infer.ops.parts.process import free_port, stop

Costs = Mapping[str, float]  # figure to cost: seconds, of which less is better


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.against", description=__doc__)
    parser.add_argument("checkout", type=Path, help="the other tree")
    parser.add_argument("rows", nargs="*", metavar="ROW", help=f"of {', '.join(ROWS)}; all by default")
    parser.add_argument("--turns", type=int, default=5)
    arguments = parser.parse_args()
    trees = {"this": ROOT, "other": arguments.checkout.absolute()}
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        kit = Kit(Path(folder), stack, quick=False)
        for row in arguments.rows or ROWS:
            measure = ROWS[row](kit)
            turns = [_turn(turn, trees, measure) for turn in range(arguments.turns)]
            for figure in turns[0]["this"]:
                ratios = [turn["other"][figure] / turn["this"][figure] for turn in turns]
                spent = [f"{statistics.median(turn[name][figure] for turn in turns):.4g}" for name in trees]
                print(
                    f"{row}, {figure}: {statistics.median(ratios):.3f} ({min(ratios):.3f} to {max(ratios):.3f}); "
                    f"this {spent[0]} s, other {spent[1]} s",
                    flush=True,
                )


def _turn(turn: int, trees: Mapping[str, Path], measure: Callable[[Path], Costs]) -> dict[str, Costs]:
    """Both trees once; which one begins changes with each turn."""
    order = list(trees) if turn % 2 == 0 else list(trees)[::-1]
    return {name: measure(trees[name]) for name in order}


def _kafka(kit: Kit) -> Callable[[Path], Costs]:
    count = 400_000
    kit.topic("texts", 4, texts(count))
    return lambda tree: _to_end(kit, tree, kit.kafka_source("texts"), count)


def _objects(kit: Kit) -> Callable[[Path], Costs]:
    count = 10_000
    fill(kit, "small", [text.ljust(500)[:500] for text in texts(count)])
    return lambda tree: _to_end(kit, tree, source(kit, "small", "text"), count)


def _to_end(kit: Kit, tree: Path, input_source: dict[str, object], count: int) -> Costs:
    ran = kit.run_to_end(kit.pipeline("run", input_source, DIGEST), tree)
    # The second worker's start falls before or behind "ready" by chance: the whole command tells what the work costs.
    return {
        "seconds from ready": ran.working,
        "seconds": ran.whole,
        "CPU-seconds from ready": ran.cpu,
        "CPU-seconds": ran.whole_cpu,
    }


def _start(kit: Kit) -> Callable[[Path], Costs]:
    kit.topic("start", 1, [])

    def measure(tree: Path) -> Costs:
        port = free_port()
        file = kit.pipeline("start", kit.kafka_source("start"), DIGEST, serve={"port": port})
        with file.with_suffix(".log").open("wb") as log:
            process = start(file, tree=tree, stdout=log, stderr=log)
        try:
            seconds = until(lambda: ready(port), 120, 0.02)
            return {"seconds to ready": seconds, "CPU-seconds to ready": _cpu(process.pid)}
        finally:
            stop(process, 60)

    return measure


def _quiet(kit: Kit) -> Callable[[Path], Costs]:
    events, rest, splits = 60, 20.0, 1_500

    def measure(tree: Path) -> Costs:
        port, topic = free_port(), f"one-{time.time_ns()}"
        kit.topic(topic, 1, [])
        limits = {"freshness": 0, "split_records": 1}
        file = kit.pipeline("quiet", kit.kafka_source(topic), DIGEST, limits=limits, serve={"port": port})
        with service(file, tree) as process:
            until(lambda: ready(port), 180)
            produce(kit.broker, topic, [b"first"] * 5)
            until(lambda: committed(port) >= 5, 60)
            latencies = [visible_after(kit.broker, topic, file.parent / "out") for _ in range(events)]
            idle = _spent(process.pid, lambda: time.sleep(rest)) / rest
            already = committed(port)
            started = time.perf_counter()
            produce(kit.broker, topic, (b"split %d" % number for number in range(splits)))
            cpu = _spent(process.pid, lambda: until(lambda: committed(port) >= already + splits, 600, 0.05))
            busy = time.perf_counter() - started
        return {
            "event to file, p50": float(np.percentile(latencies, 50)),
            "idle, CPU-seconds a second": idle,
            "seconds a split": busy / splits,
            "CPU-seconds a split": cpu / splits,
        }

    return measure


def _cpu(pid: int) -> float:
    """CPU-seconds so far of a process and its children."""
    tree = [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]
    return sum(sum(times[:2]) for times in _times(tree))


def _times(tree: list[psutil.Process]) -> Iterator[tuple[float, ...]]:
    for process in tree:
        with contextlib.suppress(psutil.Error):
            yield process.cpu_times()


def _spent(pid: int, work: Callable[[], object]) -> float:
    """CPU-seconds that the process and its children took meanwhile."""
    before = _cpu(pid)
    work()
    return _cpu(pid) - before


ROWS = {"kafka": _kafka, "objects": _objects, "start": _start, "quiet": _quiet}

if __name__ == "__main__":
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    main()
