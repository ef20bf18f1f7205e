"""``python -m benchmarks [ROW …] [--quick]``: measure, print the table, keep the report."""

from __future__ import annotations

import argparse
import contextlib
import tempfile
from pathlib import Path

from benchmarks import report
from benchmarks.kit import Kit
from benchmarks.results import Result
from benchmarks.rows import gpu, kafka, ledger, minilm, objects, quiet, start, telemetry, vision

ROWS = {
    "kafka": kafka.measure,
    "objects": objects.small,
    "large": objects.large,
    "minilm": minilm.measure,
    "vision": vision.measure,
    "gpu": gpu.measure,
    "start": start.measure,
    "ledger": ledger.measure,
    "quiet": quiet.measure,
    "telemetry": telemetry.measure,
}


def main() -> None:
    """Measure the chosen rows. Other rows, and those that this machine cannot measure, keep the results of the last full run."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("rows", nargs="*", metavar="ROW", help=f"of {', '.join(ROWS)}; all by default")
    parser.add_argument("--quick", action="store_true", help="smaller sizes, no report")
    parser.add_argument(
        "--take", type=Path, metavar="FILE", help="results.json of another machine: take the ROWs from it"
    )
    arguments = parser.parse_args()
    if unknown := set(arguments.rows) - set(ROWS):
        parser.error(f"no row {min(unknown)!r}; there are {', '.join(ROWS)}")
    names = arguments.rows or list(ROWS)
    results = {} if arguments.quick else {result.name: result for result in report.load()}
    imported = {result.name: result for result in report.load(arguments.take)} if arguments.take else {}
    for name in names:
        result = imported[name] if arguments.take else _measure(name, arguments.quick)
        if not result.elsewhere or name not in results:
            results[name] = result
        print(report.table([results[name]]), *results[name].notes, sep="\n", flush=True)
        report.write([results[row] for row in ROWS if row in results], arguments.quick)


def _measure(name: str, quick: bool) -> Result:
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        try:
            machine = report.describe_machine()
            result = ROWS[name](Kit(Path(folder), stack, quick))
            result.measured = machine
            return result
        except Exception as error:  # the report shows that a row failed; the others are still measured
            reason = " ".join((getattr(error, "stderr", None) or str(error) or type(error).__name__).split())
            failed = Result(name, name, "")
            failed.add_statement("the whole row", "failed", reason[-200:].replace("|", "/"))
            return failed


if __name__ == "__main__":
    main()
