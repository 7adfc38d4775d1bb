"""Hints of the command line: the options or commands that solve an error, by error code.

The library's errors carry codes and fields, but no options. Another interface can have its own
table of hints for the same codes.
"""

import sys
from collections.abc import Callable, Mapping
from string import Formatter
from typing import Any

from ettin_cli.console import making_folder
from ettin_cli.errors import EttinError
from ettin_cli.platforms import command_line, quoted
from ettin_cli.records import Rejection
from ettin_cli.settings import MAX

Fields = Mapping[str, Any]

# By the library argument that is invalid. For other arguments the hint lists the choices.
ARGUMENTS = {
    "cascade": "for example -r embedded:50,32m: the second reranks the best 50 of the first",
    "columns": "leave out --fields",
    "dimensions": "--dimensions {valid}",
    "document_tokens": "--document-tokens {most}",
    "expand": "--retriever dense or --retriever bm25",
    "glob": 'use a glob such as "*.md" or "drafts/"',
    "max_score_ratio": "--max-score-ratio 0.95",
    "into": "leave out -i, or search the index without SOURCE",
    "metric": "{known}",
    "output": "choose the format with -f, or use {choices}",
    "pairs": "use your own pairs with --pairs FILE",
    "queries": "pass both --queries FILE and --corpus SOURCE",
    "remove": "ettin info -i {folder!q}",
    "reranker": "-r auto",
    "sources": "ettin index SOURCE -i {folder!q}",
    "stream": "pass a file",
}

# The option that names a missing field, by the content of the field.
FIELD_OPTIONS = {
    "query": "--query-field",
    "documents": "--documents-field",
    "text": "--text-field",
}


class _Hints(Formatter):
    """Formats fields: lists with commas, and !q as shell words."""

    def convert_field(self, value: Any, conversion: Any) -> Any:
        return quoted(str(value)) if conversion == "q" else super().convert_field(value, None)

    def format_field(self, value: Any, format_spec: str) -> str:
        if isinstance(value, (tuple, list)):
            return ", ".join(map(str, value))
        return str(super().format_field(value, format_spec))


_FORMATTER = _Hints()


def _argument(fields: Fields) -> str | None:
    """Return the valid values of an argument."""
    if template := ARGUMENTS.get(fields.get("argument", "")):
        return _FORMATTER.vformat(template, (), fields)
    return ", ".join(fields["choices"]) if "choices" in fields else None


def _expected(fields: Fields) -> str | None:
    """Return what a file should hold, if known."""
    return fields.get("expected")


def _formats(fields: Fields) -> str:
    """Return the known formats, and the options that a TREC run needs."""
    run = "; a TREC run needs --queries and --corpus" if "TREC run" in fields["formats"] else ""
    return f"known formats: {fields['formats']}{run}"


def _plugin(fields: Fields) -> str:
    """Return what to do about a plugin that fails."""
    package = fields.get("package")
    return f"update or uninstall {package}" if package else "set ETTIN_DEBUG=1 for a traceback"


def _examples(fields: Fields) -> str:
    """Return what rows of training data should hold, or the losses that suit them."""
    return fields.get("expected") or f"use --loss {' or '.join(fields['losses'])}"


def _rebuild(fields: Fields) -> str:
    """Return the command that rebuilds an index with the requested settings."""
    words = ["ettin", "index", "-i", str(fields["folder"]), "--rebuild"]
    for name in ("embedder", "max_length", "dimensions", "chunk_size", "chunk_overlap", "shards"):
        if (value := fields.get(name)) is not None:
            words += [f"--{name.replace('_', '-')}", str(value)]
    return command_line(words)


def _calibrate(fields: Fields) -> str:
    """Return the command that calibrates an index for a reranker."""
    words = ["ettin", "eval", "-i", str(fields["folder"]), "-r", str(fields["reranker"])]
    words += ["--long", MAX] if fields["long"] == MAX else []
    return f"{command_line(words)} --queries FILE --qrels FILE --calibrate"


def _slower(fields: Fields) -> str:
    """Return how to train again without diverging."""
    first = f"remove {quoted(str(left))} and " if (left := fields.get("partial")) else ""
    rate = fields.get("learning_rate")
    lower = (
        f"--learning-rate {rate / 4:.1g}, or --dtype fp32" if rate else "a lower --learning-rate"
    )
    return f"{first}start over with {lower}"


def _submit(fields: Fields) -> str:
    """Return the command that runs this command on a cluster."""
    address = str(fields["address"])
    http = address.startswith("http")
    dashboard = address if http else f"http://{address.removeprefix('ray://').split(':')[0]}:8265"
    command = command_line(["ray", "job", "submit", "--address", dashboard, "--", *_typed()])
    return f"run it on the cluster: {command}"


def _typed() -> list[str]:
    """Return this command as it was typed."""
    return ["ettin", *sys.argv[1:]]


def _near(fields: Fields) -> str:
    """Return the nearest of the known names, or all if none is near."""
    import difflib

    known = fields["known"]
    return ", ".join(difflib.get_close_matches(str(fields["name"]), known, 5) or known)


def _again(fields: Fields) -> str:
    """Return how to resume a download: of a run of training, its checkpoint."""
    return f"run the same command{' with --resume' if 'partial' in fields else ' to resume'}"


def _resumed() -> str:
    """Return how to resume work in units."""
    command = next((word for word in sys.argv[1:] if not word.startswith("-")), "")
    return "run the same command" + (" with --resume" if command in WITH_RESUME else "")


# The other commands that work in units resume without an option.
WITH_RESUME = ("rerank", "score", "search")


def _newest(fields: Fields) -> str:
    """Return how to go on with the newest commit of a dataset."""
    left = fields.get("partial")
    first = f"remove {quoted(str(left))} and " if left else ""
    return f"{first}run the same command, which reads the newest commit"


# Codes of failures of the hub that do not end a run of training for good.
OF_THE_HUB = ("collection-gated", "token-rejected", "hub-busy", "hub-failed")

_SOURCE = "pass a file, a folder, or - for JSONL on stdin"
_AGAIN = "download the complete model again"
_OTHER = "choose a different output with -o"

HINTS: Mapping[str, str | Callable[[Fields], str | None]] = {
    "invalid-argument": _argument,
    "daemon-running": "ettin serve --stop",
    "daemon-folder": "remove it, or set XDG_RUNTIME_DIR to a folder of your own",
    "daemon-stuck": "kill -9 {pid}",
    "needs-reranker": "leave out -r none",
    "unknown-format": _formats,
    "source-not-found": _SOURCE,
    "source-gone": "ettin index -i {folder!q} --remove {source!q}",
    "cannot-repair": "restore it, or run: ettin index -i {folder!q} --rebuild --remove {source!q}",
    "stream-not-repeatable": "pass them again: ettin index - -i {folder!q} --rebuild; "
    "or remove them with --remove -",
    "path-not-utf8": "rename it",
    "invalid-input": _expected,
    "fields-not-found": "set the field names with --query-field, --documents-field, --text-field, "
    "--id-field, or the columns of a CSV or TSV without a header with --fields",
    "invalid-examples": _examples,
    "not-a-collection": "a BEIR folder has corpus.jsonl, queries.jsonl and qrels/test.tsv; "
    "ettin eval also takes --queries and --qrels",
    "unknown-collection": lambda fields: ", ".join(fields["nearest"]),
    "split-not-found": lambda fields: ", ".join(
        f"{fields['name']}:{split}" for split in fields["splits"]
    ),
    "no-candidates": "--candidates 100",
    "configuration-not-found": _near,
    "collection-unavailable": "run the same command on a machine with a network, and copy the "
    "caches here (HF_HOME and ETTIN_CACHE_DIR)",
    "collection-gated": "request access at https://huggingface.co/datasets/{name}, "
    "then: hf auth login",
    "collection-gone": "if it is private: hf auth login",
    "collection-denied": "for why: {page}",
    "collection-changed": _newest,
    "dataset-download-failed": _again,
    "not-judged": "use the query ids of the qrels, or judge some: ettin eval ... --judge",
    "unknown-model": "ettin models",
    "model-unavailable": "use embedded, or download it on a machine with a network "
    "(ettin models pull {name!q}) and copy its cache here (HF_HOME)",
    "model-gated": "request access at {page}, then: hf auth login, or set HF_TOKEN",
    "revision-not-found": "pip install --upgrade ettin-cli",
    "token-rejected": "correct or unset HF_TOKEN, or: hf auth login",
    "hub-busy": "requests with a token have a higher limit: hf auth login, or set HF_TOKEN",
    "hub-failed": "for the state of the hub: https://status.huggingface.co",
    "cache-unwritable": lambda fields: (
        f"free some space, or set HF_HUB_CACHE to another folder; then {_again(fields)}"
    ),
    "download-failed": "run the same command to resume",
    "untrusted-code": "if you trust it: --trust-remote-code",
    "unsafe-weights": "save the model as safetensors (model.safetensors)",
    "model-incomplete": _AGAIN,
    "not-an-embedder": "--embedder auto",
    "no-token-counts": "--long truncate",
    "not-a-number": "try --dtype fp32, or a different model",
    "device-unavailable": "--device cpu",
    "out-of-memory": "--max-length 2048, or --device cpu",
    "missing-package": "pip install {package!q}",
    "damaged-package": "pip install --force-reinstall {package!q}",
    "plugin-failed": _plugin,
    "plugins-clash": "uninstall one of them",
    "suffix-ambiguous": "choose the format with -f",
    "training-out-of-memory": "--max-length 512, --lora 16, or fewer negatives per row",
    "training-diverged": _slower,
    "process-ended": "run the same command with --resume",
    "communication-failed": "for the cause, set NCCL_DEBUG=INFO; then run with --resume",
    "not-an-index": "choose a different folder with -i",
    "index-not-found": "ettin index SOURCE -i {folder!q}",
    "index-mismatch": _rebuild,
    "index-without-words": "add them: ettin index -i {folder!q}",
    "index-without-token-vectors": "build it with a multi-vector model: "
    "ettin index -i {folder!q} --embedder MODEL --token-vectors auto --rebuild",
    "newer-format": "pip install --upgrade ettin-cli",
    "index-damaged": "ettin verify -i {folder!q} --repair",
    "manifest-damaged": "ettin index SOURCE -i {folder!q} --rebuild",
    "index-busy": "wait for it, or leave out --no-wait",
    "index-unwritable": "free some space or fix the permissions, "
    "then run the same command to resume",
    "factory-failed": "use --factory auto",
    "not-calibrated": _calibrate,
    "too-few-judgements": "judge more relevant and irrelevant passages, for at least two queries",
    "cannot-write": _OTHER,
    "folder-not-found": lambda fields: making_folder(fields["folder"]),
    "judgements-unwritable": "judgements so far are kept; once the file can be written, "
    "run the same command to resume",
    "checkpoint-unwritable": "free some space, then run the same command with --resume",
    "output-exists": "choose a different folder with -o, or remove it",
    "output-busy": _OTHER,
    "unfinished-output": "resume it with --resume, or remove it to start over",
    "resume-mismatch": "resume with the original ones, or remove {partial!q} to start over",
    "resume-damaged": "remove {partial!q} to start over",
    "rows-scattered": "sort the file by query, or leave out --on ray, --unit and the slash of -o",
    "not-a-cluster": _submit,
    "cluster-unreachable": "start one with: ray start --head; "
    "or unset RAY_ADDRESS to run on this machine",
    "cluster-too-small": "use a lower --cpus-per-worker or --gpus-per-worker",
    "cluster-failed": lambda fields: f"Ray's messages are in {fields['log']}; {_resumed()}",
    "worker-failed": lambda fields: (
        f"its traceback is in {fields['log']}; once it is solved, {_resumed()}"
    ),
    "workers-differ": "install the same versions on all nodes, and use nodes of one kind",
    "not-shared": "run from a folder on a file system that all nodes share",
    "index-updated": "to start over with the updated index, remove the folder of unfinished work "
    "beside the output",
    "units-given-up": lambda fields: f"{_resumed()} to try them again",
}


def hint_of(error: EttinError) -> str | None:
    """Return the hint for an error, or None."""
    if error.hint is not None:
        return error.hint
    hint = HINTS.get(error.code)
    if hint is None or callable(hint):
        return hint(error.fields) if hint else None
    text = _FORMATTER.vformat(hint, (), error.fields)
    if error.code in OF_THE_HUB and "partial" in error.fields:
        return f"{text}; then {_again(error.fields)}"
    return text


def rejected(rejection: Rejection) -> str:
    """Return the message for a rejected input, for a command with options that name fields.

    >>> rejected(Rejection("a.jsonl", 'no "text" field', 3, missing="text"))
    'rejected a.jsonl:3: no "text" field; set it with --text-field'
    """
    option = FIELD_OPTIONS.get(rejection.missing or "")
    return f"rejected {rejection}" + (f"; set it with {option}" if option else "")
