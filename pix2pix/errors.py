"""The two ways in which a command stops with one line instead of a traceback."""


class UserError(Exception):
    """Bad input or usage. The message names the file, the field and the fix; exit status 2."""


class TrainingError(Exception):
    """A training cannot go on (a loss is not a number, the disk is full); exit status 1."""
