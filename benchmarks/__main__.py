"""Every benchmark."""

from benchmarks.main_job import main

main(50_000, 3000, 20_000)
