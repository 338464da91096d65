"""How scoring stops, or goes without a score."""


class ScoringError(Exception):
    """Images, labels or a scorer that cannot be scored with. One clear line with file names."""


class NotMeasured(Exception):
    """A score that cannot be had here. The message says why, and how to get it."""
