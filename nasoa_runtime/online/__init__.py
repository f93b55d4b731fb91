"""The online half: from a dataset's statistics to a schedule, and from its outcome to a better predictor."""
