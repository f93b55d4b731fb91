"""How many steps fit into what is left of a time limit: pure arithmetic on measured seconds."""

from __future__ import annotations

from dataclasses import dataclass

SAFETY = 1.5
"""Measured costs are taken times this: another tenant may be on the node by then."""
MARGIN_SECONDS = 1.0
MARGIN_SHARE = 0.02
"""Kept of the limit for whatever nothing measures: one slow step, the process's end."""
VALIDATION_POINTS = (0.5, 0.75, 0.9)
"""Shares of the run after which the model is validated; always at the end too."""
VALIDATION_SHARE = 0.04
"""An intermediate validation may cost this share of the time left."""


@dataclass(frozen=True)
class Costs:
    """Seconds that the end of a run takes, measured at its start."""

    validation_seconds: float
    test_seconds: float
    upload_seconds: float
    building_seconds: float = 0.0
    """What it takes to build another network, if it may be another one that is delivered."""

    @property
    def finish_seconds(self) -> float:
        """Testing and publishing, with safety."""
        return SAFETY * (self.building_seconds + self.test_seconds + self.upload_seconds)

    def reserve_seconds(self, limit_seconds: float) -> float:
        """What must be left when training ends."""
        margin = MARGIN_SECONDS + MARGIN_SHARE * limit_seconds
        return self.finish_seconds + SAFETY * self.validation_seconds + margin


@dataclass(frozen=True)
class Upload:
    """What writing a network's checkpoint took."""

    seconds: float
    network_bytes: int

    def seconds_of(self, network_bytes: int) -> float:
        """What it takes for another network: no less for a smaller one, as much of it may be waiting."""
        return self.seconds * max(1.0, network_bytes / max(self.network_bytes, 1))


def affordable_steps(remaining_seconds: float, reserve_seconds: float, step_seconds: float) -> int:
    """Steps that fit between now and the reserve; 0 if none does."""
    return max(int((remaining_seconds - reserve_seconds) / step_seconds), 0)


def planned_validations(progress: float, costs: Costs, trainable_seconds: float) -> tuple[float, ...]:
    """The points still ahead at which to validate, none where validating is too expensive for the time there is."""
    if costs.validation_seconds > VALIDATION_SHARE * max(trainable_seconds, 0.0):
        return ()
    return tuple(point for point in VALIDATION_POINTS if point > progress)
