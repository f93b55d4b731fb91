"""``python -m nasoa_runtime PROGRAM``: the entry point of the pods' image (:mod:`nasoa_runtime.pods`)."""

from __future__ import annotations

from nasoa_runtime.pods.main import run_and_leave

if __name__ == "__main__":
    run_and_leave()
