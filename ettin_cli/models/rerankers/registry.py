"""What `-r` names -> a reranker that scores (query, text) pairs: the list of kinds there are."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from ettin_cli.errors import InvalidArgumentError, MissingExtraError, ModelError
from ettin_cli.models import multi_vector
from ettin_cli.models.engines.settings import EngineSettings
from ettin_cli.models.hub import EMBEDDED, ModelFiles, may_be_model
from ettin_cli.models.rerankers import cross_encoder, embedded as stand_in
from ettin_cli.models.rerankers.external import ExternalReranker
from ettin_cli.models.rerankers.resolved import Reference, ResolvedReranker
from ettin_cli.records import Reporter, Reranker
from ettin_cli.runtime import Loaded, Plugin, installed_plugins, plugin_named
from ettin_cli.settings import AUTO_RERANKER

Find = Callable[[Reference], ResolvedReranker | None]

# Asked in this order for what a reference names. The last takes any model.
KINDS: tuple[Find, ...] = (stand_in.find, multi_vector.find, cross_encoder.find)
# Entry points by which another package adds a reranker: a function such as those in KINDS, or
# a class that takes a Reference. An entry point's name is what `-r` takes.
GROUP, WHAT = "ettin.rerankers", "the reranker {}"


def find_reranker(name: str, *, offline: bool, reporter: Reporter) -> ResolvedReranker:
    """Return a reranker by its name; `auto` is Ettin 32m, else the stand-in, which is reported.

    Raises:
        ModelError: There is none, or it cannot be downloaded.
        PluginError: It is another package's, whose code fails.
        InvalidArgumentError: Those are several, one behind another, or none.
    """
    if ("," in name or name == "none") and not Path(name).is_dir():
        raise InvalidArgumentError(
            f'expected a single reranker, got "{name}"', argument="reranker", value=name
        )
    if name != "auto":
        return _found(Reference(name, offline=offline, reporter=reporter))
    try:
        return _found(Reference(AUTO_RERANKER, offline=offline, reporter=reporter))
    except ModelError as error:
        try:
            found = _found(Reference(EMBEDDED, offline=offline, reporter=reporter))
        except MissingExtraError as missing:
            raise ModelError(error.problem, code=missing.code, **missing.fields) from error
        reporter.notice(f"reranking with the embedded stand-in, not Ettin: {error.problem}")
        return found


def reranker_of(files: ModelFiles) -> ResolvedReranker:
    """Return the reranker that a model's files are."""
    return _built_in(Reference(files.name, files=files))


def load_reranker(
    reranker: ResolvedReranker,
    settings: EngineSettings,
    reporter: Reporter,
    loaded: Loaded | None = None,
) -> Reranker:
    """Load a reranker.

    Args:
        loaded: What it may share a model in, which is an embedder's too; None: nobody.

    Raises:
        ModelError: It cannot be loaded, or not on the device that was asked for.
    """
    return reranker.load(settings, reporter, loaded or Loaded())


def external_reranker(name: str) -> Plugin | None:
    """Return the reranker that another installed package adds under a name, if one does.

    Raises:
        PluginError: Several do.
    """
    # Entry points take time to read, so only names that are nothing else are looked up there.
    return None if may_be_model(name) else plugin_named(GROUP, WHAT, name.lower())


def external_rerankers() -> Mapping[str, Sequence[Plugin]]:
    """Return the rerankers that other installed packages add, by name; nothing is imported."""
    return installed_plugins(GROUP, WHAT)


def _found(reference: Reference) -> ResolvedReranker:
    if plugin := external_reranker(reference.name):
        return ExternalReranker(plugin, reference)
    return _built_in(reference)


def _built_in(reference: Reference) -> ResolvedReranker:
    found = (find(reference) for find in KINDS)
    return next(one for one in found if one is not None)
