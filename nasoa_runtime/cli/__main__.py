"""``python -m nasoa_runtime.cli``: the command ``nasoa`` where its console script is not on the path."""

from __future__ import annotations

from nasoa_runtime.cli.app import main

if __name__ == "__main__":
    main()
