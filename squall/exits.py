"""The exit codes of the command line: a contract with scripts and CI systems."""

from enum import IntEnum


class Exit(IntEnum):
    """How a command ended."""

    PASS = 0
    FAIL = 1
    """An expectation failed."""
    UNKNOWN = 2
    """The run is invalid, was cut short, or data is missing."""
    ENVIRONMENT = 3
    """A server, a port, space or a permission is missing."""
    NOT_UNDONE = 4
    """Something could not be undone."""
    BAD_SCENARIO = 64
    INTERNAL = 70
    INTERRUPTED = 130
    """Interrupted, and undone."""
