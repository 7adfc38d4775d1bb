"""Expected failures: what went wrong, a code for programs, and what the message was made of.

EttinError
├── InvalidArgumentError  an argument makes no sense, alone or beside another (exit code 2)
│   └── UsageError        so does an option or argument of a command
├── CorpusError           an input cannot be read, or holds something else
├── ModelError            a model cannot be found, fetched, loaded or run
├── IndexNotFoundError    there is no index where one was asked for
├── IndexMismatchError    the index was made by another embedder, chunking or format
├── IndexDamagedError     a file of the index is missing, cut short or altered
├── IndexBusyError        another process is writing the index
├── CalibrationError      scores cannot be turned into probabilities
├── OutputError           a result cannot be written
├── PluginError           what another package adds cannot be loaded or chosen
├── ClosedError           an index or models are used after they were closed
└── MissingExtraError     an optional dependency is not installed

`str(error)` is a sentence that makes sense without a command line. What a user of the command
line can do about it is found by `code`, in `ettin_cli/commands/hints.py`.
"""

from typing import Any, ClassVar

# Exit codes of a command that a signal ended.
INTERRUPTED, TERMINATED = 130, 143

CODES = {
    "failed": "A read, a write or a program outside ettin failed.",
    "invalid-argument": "An argument makes no sense. Fields: argument; often value and choices.",
    "unknown-format": "A file is of a format that cannot be read or written here.",
    # Inputs.
    "source-not-found": "A source does not exist, or is neither a file nor a folder.",
    "source-gone": "A source of an index is no longer where it was.",
    "cannot-repair": "A damaged index cannot be repaired, since one of its sources is gone.",
    "stream-not-repeatable": "Records of an index came from a stream, and are needed again.",
    "path-not-utf8": "The path of a source is not UTF-8, so that an index cannot keep it.",
    "cannot-read": "A file cannot be opened or read.",
    "invalid-input": "A file holds something else than it must, or nothing.",
    "fields-not-found": "The rows of a file have no fields of the usual names.",
    "invalid-examples": "A file of training data holds no examples, or none for the loss.",
    "not-judged": "None of the queries has judgements.",
    # Models.
    "unknown-model": "No model has this name.",
    "model-unavailable": "A model is not on this machine, and cannot be fetched.",
    "model-gated": "The hub wants its user to ask for access to a model.",
    "download-failed": "Fetching a model has begun, and failed.",
    "untrusted-code": "A model needs code that comes with it, which is not trusted.",
    "unsafe-weights": "A model has no weights in safetensors.",
    "model-incomplete": "Files of a model are missing, damaged, or do not fit each other.",
    "model-unusable": "A model cannot be loaded, or is not of a kind that can be used here.",
    "not-an-embedder": "A reranker was named where an embedder is needed.",
    "no-token-counts": "Texts cannot be divided at a model's limit: its tokenizer is unknown.",
    "not-a-number": "A model gave a value that is not a finite number.",
    "device-unavailable": "A device cannot compute.",
    "engine-unavailable": "An engine cannot run a model.",
    "out-of-memory": "A text does not fit the GPU's memory.",
    "missing-package": "A package, or the version of it that is needed, is not installed.",
    "damaged-package": "Files of an installed package are missing or altered.",
    "plugin-failed": "What another package adds cannot be loaded, or fails.",
    "plugins-clash": "Several packages add the same.",
    "suffix-ambiguous": "Several formats have the suffix of an output.",
    "closed": "An index or models are used after they were closed.",
    # Training.
    "training-out-of-memory": "A training example does not fit the GPU's memory.",
    "training-diverged": "The loss or the scores of a model in training are not finite.",
    "process-ended": "Another process of the same run has ended.",
    # Indexes.
    "not-an-index": "A path is a file, or a folder that holds something else than an index.",
    "index-not-found": "There is no index in a folder.",
    "index-mismatch": "An index was made by another embedder or chunking.",
    "index-without-words": "An index was made by a version that kept vectors alone.",
    "newer-format": "A newer version has written the file.",
    "index-damaged": "A file of an index is missing or damaged.",
    "manifest-damaged": "The manifest of an index is damaged, which only a rebuild mends.",
    "index-busy": "Another process is writing the index.",
    "index-unwritable": "The folder of an index cannot be written.",
    "factory-failed": "FAISS cannot build an index of this kind over these vectors.",
    # Calibration.
    "not-calibrated": "An index has no calibration that fits a reranker.",
    "too-few-judgements": "There are not enough judgements to learn probabilities from.",
    # Outputs.
    "cannot-write": "A file cannot be written.",
    "folder-not-found": "The folder of an output does not exist.",
    "judgements-unwritable": "The file of judgements cannot be written.",
    "checkpoint-unwritable": "A checkpoint of a training run cannot be written.",
    "output-exists": "The output is there already.",
    "output-busy": "Another process is writing the output.",
    "unfinished-output": "The unfinished output of an earlier run is in the way.",
    "resume-mismatch": "An unfinished output was made from another input, model or options.",
    "resume-damaged": "An unfinished output is damaged, and cannot be resumed.",
}


class EttinError(Exception):
    """An expected failure, shown as a short message and never as a traceback.

    Attributes:
        problem: The message: what is wrong and where, with the value that is wrong.
        code: What went wrong, for programs: one of `CODES`. It stays the same when the wording of
            the message changes.
        fields: What the message was made of: strings, numbers, paths, and tuples of these.
        hint: What to type instead, where a command raised the error itself.
        exit_code: Of a command that it ends.
    """

    exit_code: ClassVar[int] = 1
    usual_code: ClassVar[str] = "failed"

    def __init__(
        self, problem: str, *, code: str | None = None, hint: str | None = None, **fields: Any
    ) -> None:
        super().__init__(problem)
        self.problem = problem
        self.code = code or self.usual_code
        self.hint = hint
        self.fields = fields


class InvalidArgumentError(EttinError, ValueError):
    """An argument makes no sense, alone or beside another."""

    exit_code = 2
    usual_code = "invalid-argument"


class UsageError(InvalidArgumentError):
    """An option or argument of a command makes no sense; raised by commands alone."""


class CorpusError(EttinError):
    """An input cannot be read, or holds something else than it must."""

    usual_code = "invalid-input"


class ModelError(EttinError):
    """A model cannot be found, fetched, loaded or run."""

    usual_code = "model-unusable"


class IndexNotFoundError(EttinError):
    """There is no index where one was asked for."""

    usual_code = "index-not-found"


class IndexMismatchError(EttinError):
    """The index was made by another embedder, another chunking or a newer format."""

    usual_code = "index-mismatch"


class IndexDamagedError(EttinError):
    """A file of the index is missing, cut short or altered."""

    usual_code = "index-damaged"


class IndexBusyError(EttinError):
    """Another process is writing the index."""

    usual_code = "index-busy"


class CalibrationError(EttinError):
    """Scores cannot be turned into probabilities: too few judgements, or no map that fits."""

    usual_code = "not-calibrated"


class OutputError(EttinError):
    """A result cannot be written."""

    usual_code = "cannot-write"


class PluginError(EttinError):
    """What another package adds through its entry points cannot be loaded or chosen."""

    usual_code = "plugin-failed"


class ClosedError(EttinError):
    """An index or models are used after they were closed."""

    usual_code = "closed"


class MissingExtraError(EttinError):
    """A feature needs an optional dependency that is not installed."""

    usual_code = "missing-package"


def first_line(error: Exception) -> str:
    """Return the first line of what another library says of a failure; else the failure's kind."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
