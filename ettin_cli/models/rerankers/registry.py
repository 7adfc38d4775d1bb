"""A reranker's name -> a reranker that scores (query, text) pairs: the list of kinds."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from ettin_cli.errors import InvalidArgumentError, MissingExtraError, ModelError
from ettin_cli.models import multi_vector
from ettin_cli.models.engines.settings import EngineSettings
from ettin_cli.models.hub import EMBEDDED, ModelFiles, may_be_model
from ettin_cli.models.rerankers import cross_encoder, embedded
from ettin_cli.models.rerankers.plugin_rerankers import PluginReranker
from ettin_cli.models.rerankers.resolved import Reference, ResolvedReranker
from ettin_cli.records import Reporter, Reranker
from ettin_cli.runtime import Loaded, Plugin, installed_plugins, plugin_named
from ettin_cli.settings import AUTO_RERANKER

Find = Callable[[Reference], ResolvedReranker | None]

# Rerankers that are not models of the hub, by the name for `-r`. No plugin or folder replaces them.
NAMED: Mapping[str, Find] = {EMBEDDED: embedded.find}
# The kinds of models, tried in this order with a reference. The last accepts any model.
KINDS: tuple[Find, ...] = (multi_vector.find, cross_encoder.find)
# Group of entry points that add rerankers: a function like those in KINDS, or a class called
# with a Reference. The name of the entry point is the name for `-r`.
GROUP, WHAT = "ettin.rerankers", "the reranker {}"


def find_reranker(name: str, *, offline: bool, reporter: Reporter) -> ResolvedReranker:
    """Return a reranker by name; `auto` is Ettin 32m, else the embedded reranker with a notice.

    Raises:
        ModelError: It does not exist, or cannot be downloaded.
        PluginError: It is a plugin, which fails.
        InvalidArgumentError: The name is a cascade of several rerankers, or empty.
    """
    if ("," in name or name == "none") and not Path(name).is_dir():
        raise InvalidArgumentError(
            f'expected a single reranker, got "{name}"', argument="reranker", value=name
        )
    if name != "auto":
        return _resolved(Reference(name, offline=offline, reporter=reporter))
    try:
        return _resolved(Reference(AUTO_RERANKER, offline=offline, reporter=reporter))
    except ModelError as error:
        try:
            built_in = _resolved(Reference(EMBEDDED, offline=offline, reporter=reporter))
        except MissingExtraError as missing:
            raise ModelError(error.problem, code=missing.code, **missing.fields) from error
        reporter.notice(f"using the embedded reranker instead of Ettin 32m: {error.problem}")
        return built_in


def reranker_of(files: ModelFiles) -> ResolvedReranker:
    """Return the reranker of a model's files."""
    return _built_in(Reference(files.name, files=files))


def load_reranker(
    reranker: ResolvedReranker,
    settings: EngineSettings,
    reporter: Reporter,
    loaded: Loaded | None = None,
) -> Reranker:
    """Load a reranker.

    Args:
        loaded: Where to share a model, also with embedders; None: do not share.

    Raises:
        ModelError: It cannot be loaded, or not on the requested device.
    """
    return reranker.load(settings, reporter, loaded or Loaded())


def reranker_plugin(name: str) -> Plugin | None:
    """Return the plugin of the reranker with a name, if there is one.

    Raises:
        PluginError: There are several.
    """
    # Reading entry points takes time, so only names that cannot be models are looked up.
    if name in NAMED or may_be_model(name):
        return None
    return plugin_named(GROUP, WHAT, name.lower())


def reranker_plugins() -> tuple[list[tuple[str, Plugin]], list[str]]:
    """Return the rerankers of other installed packages with their names; imports none of them.

    The second value has a notice for each plugin that is not used because of its name.
    """
    usable: list[tuple[str, Plugin]] = []
    notices: list[str] = []
    for name, plugins in sorted(installed_plugins(GROUP, WHAT).items()):
        if name in NAMED or may_be_model(name):
            notices += [
                f"{plugin.what} from {plugin.package} is not used: {name} is built in or a folder"
                for plugin in plugins
            ]
        else:
            usable += [(name, plugin) for plugin in plugins]
    return usable, notices


def _resolved(reference: Reference) -> ResolvedReranker:
    if plugin := reranker_plugin(reference.name):
        return PluginReranker(plugin, reference)
    return _built_in(reference)


def _built_in(reference: Reference) -> ResolvedReranker:
    kinds = [NAMED[reference.name]] if reference.name in NAMED else KINDS
    matches = (find(reference) for find in kinds)
    return next(match for match in matches if match is not None)
