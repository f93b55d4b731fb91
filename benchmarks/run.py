"""Run all benchmarks, one after another, and print their tables."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

FOLDER = Path(__file__).resolve().parent
ALL = (
    "predictor.py",
    "replay.py",
    "recorded_runs.py",
    "hedge.py",
    "learning_stream.py",
    "transfers.py",
    "generation_gap.py",
    "operator_memory.py",
)


def main() -> int:
    failed = 0
    for name in ALL:
        print(f"\n## {name}\n", flush=True)
        failed += subprocess.run([sys.executable, str(FOLDER / name)], check=False).returncode != 0
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
