"""The two ways in which a command stops with one line instead of a traceback."""


class UserError(Exception):
    """Bad input or usage. The message names the file, the field and the fix; exit status 2."""


class TrainingError(Exception):
    """A training cannot go on: a loss or a weight is not a finite number; exit status 1."""


class Interrupted(Exception):
    """The work was asked to stop; what is needed to go on is written."""
