"""How scoring stops, or goes without a score."""

from pix2pix.common.errors import UserError

ScoringError = UserError
"""Images, labels or a scorer that cannot be scored with: one clear line with file names."""


class NotMeasured(Exception):
    """A score that cannot be had here. The message says why, and how to get it."""
