"""`python -m tests.mutation [WORD …]`: plant every mutant (or those whose name holds a word); 1 if one survives."""

from __future__ import annotations

import os
import sys
from concurrent.futures import ThreadPoolExecutor

from tests.mutation.mutants import MUTANTS
from tests.mutation.planting import plant, preload


def main(words: list[str]) -> int:
    chosen = [mutant for mutant in MUTANTS if not words or any(word in mutant.name for word in words)]
    preload()
    survived = 0
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for outcome in pool.map(plant, chosen):
            word = "BROKEN" if outcome.broken else f"killed by {outcome.by}" if outcome.by else "SURVIVED"
            survived += outcome.broken or not outcome.by
            print(f"{outcome.seconds:6.1f} s  {outcome.mutant.name} ({outcome.mutant.file}): {word}", flush=True)
    print(f"{len(chosen)} mutants, {len(chosen) - survived} killed, {survived} not")
    return 1 if survived else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
