"""Expected failures: each has a message, a code for programs, and the values in the message.

EttinError
├── InvalidArgumentError  an invalid argument, alone or combined with another (exit code 2)
│   └── UsageError        the same, for an option or argument of a command
├── CorpusError           an input cannot be read or has invalid content
├── ModelError            a model cannot be found, fetched, loaded or run
├── IndexNotFoundError    the folder contains no index
├── IndexMismatchError    the index was built with another embedder, chunking or format
├── IndexDamagedError     a file of the index is missing, truncated or altered
├── IndexBusyError        another process is writing the index
├── CalibrationError      scores cannot be turned into probabilities
├── OutputError           a result cannot be written
├── PluginError           a plugin of another package cannot be loaded or selected
├── ClosedError           an index or a set of models was used after close()
└── MissingExtraError     an optional dependency is not installed

`str(error)` is a sentence that does not refer to the command line. The hint for users of the
command line is looked up by `code` in `ettin_cli/commands/hints.py`.
"""

from typing import Any, ClassVar

# Exit codes of a command that was ended by a signal.
INTERRUPTED, TERMINATED = 130, 143

CODES = {
    "failed": "A read, a write or an external program failed.",
    "invalid-argument": "An argument is invalid. Fields: argument; often value and choices.",
    "port-in-use": "Another program listens on a port.",
    "daemon-running": "A daemon with other options is running.",
    "daemon-folder": "The folder of the daemon can be used by others.",
    "daemon-stuck": "The daemon does not end.",
    "needs-reranker": "An argument has no effect without a reranker.",
    "unknown-format": "The file format is not supported.",
    # Inputs.
    "source-not-found": "A source does not exist, or is neither a file nor a folder.",
    "source-gone": "A source of an index is no longer at its recorded path.",
    "cannot-repair": "A damaged index cannot be repaired because a source is gone.",
    "stream-not-repeatable": "Records came from a stream and cannot be read a second time.",
    "path-not-utf8": "The path of a source is not UTF-8, so an index cannot store it.",
    "cannot-read": "A file cannot be opened or read.",
    "invalid-input": "A file is empty or its content is invalid.",
    "fields-not-found": "The rows of a file have none of the usual field names.",
    "invalid-examples": "A training file has no examples, or none that the loss can use.",
    "not-a-collection": "A folder lacks the files of a BEIR collection.",
    "not-judged": "None of the queries has judgements.",
    # Public collections.
    "unknown-collection": "No public collection has this name. Fields: nearest.",
    "split-not-found": "A collection has no such split. Fields: splits.",
    "no-candidates": "A collection comes without candidates to rerank.",
    "configuration-not-found": "A dataset has no such configuration. Fields: known.",
    "collection-unavailable": "Files of a collection are neither on this machine nor downloadable.",
    "collection-gated": "The hub requires the user to request access to a dataset.",
    "collection-gone": "The hub has no such dataset, or hides it.",
    "collection-denied": "The hub denies access to a dataset.",
    "collection-changed": "The hub no longer has the commit of a dataset that is being read.",
    "dataset-download-failed": "A request for a dataset failed.",
    # Models.
    "unknown-model": "No model has this name.",
    "model-unavailable": "A model is neither on this machine nor downloadable.",
    "model-gated": "The hub requires the user to request access to a model. Fields: page.",
    "model-denied": "The hub denies access to a model.",
    "revision-not-found": "The hub does not have the pinned revision of a model or dataset.",
    "token-rejected": "The hub rejects the access token.",
    "hub-busy": "The hub limits the rate of requests. Fields: retry_s, in seconds.",
    "hub-failed": "The hub had an internal error. Fields: retry_s, in seconds, or None.",
    "cache-unwritable": "The cache of huggingface_hub cannot be written, or has no room.",
    "download-failed": "A model download started and failed.",
    "untrusted-code": "A model needs custom code, which is not trusted.",
    "unsafe-weights": "A model has no weights in safetensors.",
    "model-incomplete": "Files of a model are missing, damaged or inconsistent.",
    "model-unusable": "A model cannot be loaded, or its kind is not supported.",
    "not-an-embedder": "A reranker was given where an embedder is needed.",
    "no-token-counts": "Texts cannot be split at a model's limit: its tokenizer is unknown.",
    "not-a-number": "A model returned a value that is not finite.",
    "device-unavailable": "A device is not available.",
    "engine-unavailable": "A backend cannot run a model.",
    "out-of-memory": "A text does not fit in GPU memory.",
    "missing-package": "A package, or its required version, is not installed.",
    "damaged-package": "Files of an installed package are missing or modified.",
    "plugin-failed": "A plugin cannot be loaded, or fails.",
    "plugins-clash": "Several packages declare a plugin of the same name.",
    "suffix-ambiguous": "Several formats have the suffix of an output.",
    "closed": "An index or a set of models was used after close().",
    # Training.
    "training-out-of-memory": "A training example does not fit in GPU memory.",
    "training-diverged": "The loss or the scores of a model in training are not finite.",
    "worker-ended": "A process that computes on one of several devices has ended. Fields: device.",
    "process-ended": "Another process of the same run has ended.",
    "communication-failed": "The GPUs of a run on several cannot communicate.",
    # Indexes.
    "not-an-index": "The path is a file, or a folder that contains something other than an index.",
    "index-not-found": "The folder contains no index.",
    "index-mismatch": "The index was built with a different embedder or chunking.",
    "index-without-words": "The index was built by a version that stored only vectors.",
    "index-without-token-vectors": "The index has no token vectors of a multi-vector model.",
    "newer-format": "The file was written by a newer version.",
    "index-damaged": "A file of an index is missing or damaged.",
    "manifest-damaged": "The manifest of an index is damaged; only a rebuild repairs it.",
    "index-busy": "Another process is writing the index.",
    "index-unwritable": "The folder of an index cannot be written.",
    "factory-failed": "FAISS cannot build this kind of index over these vectors.",
    # Calibration.
    "not-calibrated": "The index has no calibration for the reranker.",
    "too-few-judgements": "There are too few judgements to fit probabilities.",
    # Outputs.
    "cannot-write": "A file cannot be written.",
    "folder-not-found": "The folder of an output does not exist.",
    "judgements-unwritable": "The judgements file cannot be written.",
    "checkpoint-unwritable": "A checkpoint of a training run cannot be written.",
    "output-exists": "The output already exists.",
    "output-busy": "Another process is writing the output.",
    "unfinished-output": "An unfinished output of an earlier run is in the way.",
    "resume-mismatch": "An unfinished output was made with a different input, model or options.",
    "resume-damaged": "An unfinished output is damaged and cannot be resumed.",
    "rows-scattered": "The rows of a query are not adjacent, but are to be reranked in units.",
    # Clusters.
    "not-a-cluster": "RAY_ADDRESS is the address of Ray Client or of a dashboard.",
    "cluster-unreachable": "There is no Ray cluster at RAY_ADDRESS.",
    "cluster-too-small": "No node of a Ray cluster has the CPUs or GPUs of a worker.",
    "cluster-failed": "Ray failed. Fields: log.",
    "worker-failed": "A worker failed for an unknown reason. Fields: log.",
    "workers-differ": "A worker has other software, weights or hardware than the others.",
    "not-shared": "A worker does not have a folder of the command that started it.",
    "index-updated": "An index was updated while workers search it.",
    "units-given-up": "Units of work ended their worker again and again, and were left out.",
}


class EttinError(Exception):
    """An expected failure, printed as a short message without a traceback.

    Attributes:
        problem: The message: what is wrong and where, with the offending value.
        code: The kind of failure, for programs: one of `CODES`. It does not change when the
            wording of the message does.
        fields: The values in the message: strings, numbers, paths, and tuples of these.
        hint: What to type instead, if a command raised the error itself.
        exit_code: The exit code of a command that ends with this error.
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
    """An argument is invalid, alone or combined with another."""

    exit_code = 2
    usual_code = "invalid-argument"


class UsageError(InvalidArgumentError):
    """An option or argument of a command is invalid; raised only by commands."""


class CorpusError(EttinError):
    """An input cannot be read or has invalid content."""

    usual_code = "invalid-input"


class CommitGoneError(CorpusError):
    """The hub no longer has the remembered commit of a dataset; it has been forgotten.

    Its field `name` is the repository.
    """

    usual_code = "collection-changed"


class ModelError(EttinError):
    """A model cannot be found, fetched, loaded or run."""

    usual_code = "model-unusable"


class IndexNotFoundError(EttinError):
    """The folder contains no index."""

    usual_code = "index-not-found"


class IndexMismatchError(EttinError):
    """The index was built with another embedder, another chunking or a newer format."""

    usual_code = "index-mismatch"


class IndexDamagedError(EttinError):
    """A file of the index is missing, truncated or altered."""

    usual_code = "index-damaged"


class IndexBusyError(EttinError):
    """Another process is writing the index."""

    usual_code = "index-busy"


class CalibrationError(EttinError):
    """Scores cannot be turned into probabilities: too few judgements, or no matching map."""

    usual_code = "not-calibrated"


class OutputError(EttinError):
    """A result cannot be written."""

    usual_code = "cannot-write"


class PluginError(EttinError):
    """A plugin, declared as an entry point of another package, cannot be loaded or selected."""

    usual_code = "plugin-failed"


class ClosedError(EttinError):
    """An index or a set of models was used after close()."""

    usual_code = "closed"


class MissingExtraError(EttinError):
    """A feature needs an optional dependency that is not installed."""

    usual_code = "missing-package"


# `ettin_cli` is installed without them where the ONNX runtime computes everything.
_TORCH = ("torch", "transformers", "sentence_transformers")


def missing_torch(error: BaseException) -> MissingExtraError | None:
    """Return the error of an installation without torch that a feature needs it, if that is so.

    >>> str(missing_torch(ModuleNotFoundError("No module named 'torch'", name="torch")))
    'this needs torch, which is not installed'
    """
    name = (error.name or "").partition(".")[0] if isinstance(error, ModuleNotFoundError) else ""
    if name not in _TORCH:
        return None
    shown = name.replace("_", "-")
    # Installed again, the package brings what is missing of its dependencies.
    return MissingExtraError(f"this needs {shown}, which is not installed", package="ettin-cli")


def first_line(error: BaseException) -> str:
    """Return the first line of another library's error message, or the exception's type name."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
