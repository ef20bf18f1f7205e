"""Dashboard: where is the time spent, and which stage is the bottleneck?"""

from __future__ import annotations

from typing import Final

from grafana.panels import Board, Query, lines, listing, number
from grafana.queries import DASHBOARD as D
from grafana.queries import total
from stream_infer.telemetry import metrics as m

_STATES: Final = (m.STAGE_BUSY_SECONDS, m.STAGE_BACKPRESSURED_SECONDS, m.STAGE_IDLE_SECONDS)
_ALL: Final = " + ".join(D.rate(metric, "stage") for metric in _STATES)

_STAGES = tuple(
    lines(title, description, "percentunit", Query(f"{D.rate(metric, 'stage')} / ({_ALL})", "{{stage}}"), top=1)
    for title, description, metric in (
        ("Busy", "Share of its actors' time at work. The busiest stage is the bottleneck.", m.STAGE_BUSY_SECONDS),
        (
            "Backpressured",
            "Share of its actors' time without work although a split was ready: the next stage is full.",
            m.STAGE_BACKPRESSURED_SECONDS,
        ),
        (
            "Idle",
            "Share of its actors' time without work while no split was ready. Stages of one pool share their idle time.",
            m.STAGE_IDLE_SECONDS,
        ),
    )
)
_SPLITS = (
    lines(
        "Actors",
        "Actors that run a stage. Fused stages share theirs.",
        "short",
        Query(total(m.ACTORS, D.of(m.ACTORS), "stage"), "{{stage}}"),
    ),
    lines(
        "Time of a split, p95",
        "Time of one split in one stage.",
        "s",
        Query(D.quantile(m.SPLIT_SECONDS, 0.95, "stage"), "{{stage}}"),
    ),
    lines(
        "Busy actors",
        "Actor-seconds of work per second, by stage.",
        "short",
        Query(D.rate(m.STAGE_BUSY_SECONDS, "stage"), "{{stage}}"),
        stacked=True,
    ),
)
_THROUGHPUT = (
    lines(
        "Records",
        "Records that became rows.",
        "cps",
        Query(D.rate(m.RECORDS_COMMITTED, "source"), "{{source}}"),
        stacked=True,
    ),
    lines(
        "Bytes",
        "Content read and output written, of committed splits.",
        "Bps",
        Query(D.rate(m.READ_BYTES), "read"),
        Query(D.rate(m.WRITTEN_BYTES), "written"),
    ),
    lines(
        "Splits",
        "Splits made final by their receipt: files appear at this rate.",
        "cps",
        Query(D.rate(m.SPLITS_COMMITTED, "source"), "{{source}}"),
        stacked=True,
    ),
)
_BATCHING = (
    lines(
        "Inferences",
        "Records that the model answered.",
        "cps",
        Query(D.rate(m.INFERENCES, "model"), "{{model}}"),
        w=6,
    ),
    lines(
        "Mean batch",
        "Records of a micro-batch. Small ones leave an accelerator idle: raise batch.tokens or batch.rows.",
        "short",
        Query(f"{D.rate(m.INFERENCES, 'model')} / {D.rate(m.BATCHES, 'model')}", "{{model}}"),
        w=6,
    ),
    lines(
        "Padding",
        "Share of the cost that is paid for padding. Much of it: lengths differ widely within small splits.",
        "percentunit",
        Query(
            f"{D.rate(m.PADDING_UNITS, 'model')} / ({D.rate(m.COST_UNITS, 'model')} + {D.rate(m.PADDING_UNITS, 'model')})",
            "{{model}}",
        ),
        w=6,
    ),
    lines(
        "Cost",
        "Cost of the answered records in the model's own units (tokens, pixels, …).",
        "cps",
        Query(D.rate(m.COST_UNITS, "model"), "{{model}}"),
        w=6,
    ),
)
_EXECUTION = (
    lines(
        "In flight",
        "Estimated input bytes in the execution, and the most it takes (limits.in_flight): at the limit, work waits for admission.",
        "bytes",
        Query(f"sum({D.of(m.IN_FLIGHT_BYTES)})", "in flight"),
        Query(f"sum({D.of(m.IN_FLIGHT_LIMIT_BYTES)})", "limit"),
        w=6,
    ),
    lines(
        "Splits in flight and waiting",
        "Splits in the execution, and planned ones that wait for admission.",
        "short",
        Query(f"sum({D.of(m.IN_FLIGHT_SPLITS)})", "in flight"),
        Query(f"sum({D.of(m.WAITING_SPLITS)})", "waiting"),
        w=6,
    ),
    lines(
        "Ledger commits",
        "Transactions that commit receipts. Slow ones delay everything: look at the ledger's disk or database.",
        "s",
        *(Query(D.quantile(m.LEDGER_COMMIT_SECONDS, q), f"p{q * 100:g}") for q in (0.5, 0.99)),
        w=6,
    ),
    lines(
        "Execution",
        "Number of the running execution; 0 while none runs (no work, or waiting after a failure).",
        "short",
        Query(total(m.EXECUTION, D.of(m.EXECUTION), "instance", how="max"), "{{instance}}"),
        w=6,
    ),
)
_DRIVER = (
    lines(
        "Memory of the driver",
        "Resident memory of the service's own process. It should stay level for months; workers have their own.",
        "bytes",
        Query(total(m.PROCESS_MEMORY_BYTES, D.of(m.PROCESS_MEMORY_BYTES), "instance", how="max"), "{{instance}}"),
    ),
    lines(
        "CPU of the driver",
        "Cores that the service's own process uses: planning, scheduling, commits. Near 1 it is the bottleneck itself.",
        "short",
        Query(D.rate(m.PROCESS_CPU_SECONDS, "instance"), "{{instance}}"),
    ),
    lines(
        "Open files of the driver",
        "Share of the files and connections that its process may have open.",
        "percentunit",
        Query(
            f"{total(m.PROCESS_OPEN_FDS, D.of(m.PROCESS_OPEN_FDS), 'instance', how='max')} / "
            f"{total(m.PROCESS_MAX_FDS, D.of(m.PROCESS_MAX_FDS), 'instance', how='max')}",
            "{{instance}}",
        ),
        top=1,
    ),
)
_GPUS = (
    lines(
        "GPU busy",
        "Share of the last second in which the GPU worked. Of the driver's machine: Ray's own dashboard has those of other nodes.",
        "percentunit",
        Query(
            total(m.GPU_UTILIZATION_RATIO, D.of(m.GPU_UTILIZATION_RATIO), "instance", "gpu", how="max"),
            "{{instance}} {{gpu}}",
        ),
        top=1,
        w=12,
    ),
    lines(
        "GPU memory",
        "GPU memory in use, and in total.",
        "bytes",
        *(
            Query(total(metric, D.of(metric), "instance", "gpu", how="max"), f"{{{{instance}}}} {{{{gpu}}}} {what}")
            for metric, what in ((m.GPU_MEMORY_USED_BYTES, "used"), (m.GPU_MEMORY_TOTAL_BYTES, "total"))
        ),
        w=12,
    ),
)
_VERSIONS = (
    listing(
        "Versions",
        "Versions of the running instances.",
        "short",
        Query(D.of(m.BUILD_INFO), "{{instance}}"),
        {"instance": "Instance", "version": "stream-infer", "ray": "Ray", "python": "Python"},
        w=10,
    ),
    listing(
        "Models",
        "Models that made the rows, by digest of weights or code. Shown from the first receipt on.",
        "short",
        Query(D.of(m.MODEL_INFO), "{{model}}"),
        {"instance": "Instance", "model": "Model", "digest": "Digest"},
        w=10,
    ),
    number(
        "Spans dropped",
        "Spans that were not sent, over the range shown: the receiver was down or slow.",
        "short",
        Query(D.increase(m.SPANS_DROPPED, over="$__range"), "spans"),
    ),
)

BOARD: Final = Board(
    "stream-infer-pipeline",
    "Pipeline",
    "Stages busy, backpressured and idle; throughput, batching, padding, GPUs, the ledger.",
    (
        ("Stages: which one is the bottleneck?", (*_STAGES, *_SPLITS)),
        ("Throughput", _THROUGHPUT),
        ("Batching", _BATCHING),
        ("Execution and ledger", _EXECUTION),
        ("The driver's process", _DRIVER),
        ("GPU (empty without one)", _GPUS),
        ("Versions and models", _VERSIONS),
    ),
)
