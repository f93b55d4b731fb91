"""How the commands show candidates: the same columns and figures in each."""

from __future__ import annotations

from typing import Any

from nasoa_runtime.boundary import Regime

COLUMNS = ("model", "learning rate", "frozen stages", "steps", "batch size", "options")


def cells(regime: Regime, steps: str | None = None) -> tuple[object, ...]:
    """A regime under :data:`COLUMNS`; ``steps`` tells of them what the number alone does not."""
    return (
        regime.model,
        f"{regime.learning_rate:g}",
        regime.frozen_stages,
        steps or regime.steps,
        regime.batch_size,
        regime.options or "plain",
    )


def document(regime: Regime) -> dict[str, Any]:
    """A regime and what is predicted for it, as JSON."""
    return regime.model_dump(mode="json", exclude={"predicted_curve"}) | {"options": regime.options}


def percent(share: float) -> str:
    """A share in percent, such as 91.3%."""
    return f"{100 * share:.1f}%"
