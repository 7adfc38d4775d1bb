"""Failures a user can cause and can fix.

EttinError
├── UsageError          an argument or option does not make sense (exit code 2)
├── CorpusError         a source cannot be read as documents
├── ModelError          a model cannot be found, fetched or loaded
├── IndexNotFoundError  there is no index where one was asked for
├── IndexMismatchError  the index was made by another embedder, chunking or format
├── IndexDamagedError   a file of the index is missing, cut short or altered
├── IndexBusyError      another process is writing the index
├── CalibrationError    scores cannot be turned into probabilities
├── OutputError         a result cannot be written
├── PluginError         what another package adds cannot be loaded or chosen
├── ClosedError         an index or models are used after they were closed
└── MissingExtraError   an optional dependency is not installed
"""

# Exit codes of a command that a signal ended.
INTERRUPTED, TERMINATED = 130, 143


class EttinError(Exception):
    """An expected failure, shown as a short message and never as a traceback.

    Args:
        problem: What is wrong, with the value that is wrong.
        hint: What to do about it, as a command where there is one.
    """

    exit_code = 1

    def __init__(self, problem: str, *, hint: str | None = None) -> None:
        super().__init__(problem)
        self.problem = problem
        self.hint = hint


class UsageError(EttinError):
    """An argument or option does not make sense, alone or beside another."""

    exit_code = 2


class CorpusError(EttinError):
    """A source cannot be read as documents."""


class ModelError(EttinError):
    """A model cannot be found, fetched or loaded."""


class IndexNotFoundError(EttinError):
    """There is no index where one was asked for."""


class IndexMismatchError(EttinError):
    """The index was made by another embedder, another chunking or a newer format."""


class IndexDamagedError(EttinError):
    """A file of the index is missing, cut short or altered."""


class IndexBusyError(EttinError):
    """Another process is writing the index."""


class CalibrationError(EttinError):
    """Scores cannot be turned into probabilities: too few judgements, or no map that fits."""


class OutputError(EttinError):
    """A result cannot be written."""


class PluginError(EttinError):
    """What another package adds through its entry points cannot be loaded or chosen."""


class ClosedError(EttinError):
    """An index or models are used after they were closed."""


class MissingExtraError(EttinError):
    """A feature needs an optional dependency that is not installed."""


def first_line(error: Exception) -> str:
    """Return the first line of what another library says of a failure; else the failure's kind."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
