"""The list of backends, and the choice of one for a model."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol, TypeVar

from ettin_cli.errors import InvalidArgumentError, ModelError, PluginError
from ettin_cli.models.engines.backends import Backend, Library
from ettin_cli.models.engines.devices import no_gpu
from ettin_cli.models.engines.graph import UnsupportedModelError
from ettin_cli.models.engines.onnx_export import WrittenModel
from ettin_cli.models.engines.onnx_model import OnnxModel
from ettin_cli.models.engines.onnxruntime_backend import OnnxRuntimeBackend
from ettin_cli.models.engines.openvino_backend import OpenVinoBackend
from ettin_cli.models.engines.settings import AUTO, EngineSettings
from ettin_cli.models.engines.torch_backend import TorchBackend
from ettin_cli.models.engines.torch_runtime import Placement
from ettin_cli.models.hub import weights_hash
from ettin_cli.models.model_folder import refuse_code
from ettin_cli.records import Reporter
from ettin_cli.runtime import Plugin, installed_plugins, plugin_named

# In listing order. If none is requested, the last is tried first; torch runs what the others
# cannot.
BACKENDS: tuple[Backend, ...] = (TorchBackend(), OnnxRuntimeBackend(), OpenVinoBackend())
# Group of entry points that add backends: subclasses of Backend.
GROUP, WHAT = "ettin.backends", "the backend {}"

G = TypeVar("G")
T = TypeVar("T")


class GraphWriter(Protocol):
    """Writes a folder's model as a graph; with standard ONNX operators only if `plain`."""

    def __call__(self, folder: Path, *, plain: bool = False) -> WrittenModel:
        """Return the graph."""
        ...


def load_model(
    folder: Path,
    settings: EngineSettings,
    reporter: Reporter,
    write: GraphWriter,
    of_graph: Callable[[Path, OnnxModel], G],
    of_torch: Callable[[Path, Placement], T],
) -> G | T:
    """Return a folder's model, run by a graph library if possible, otherwise by torch.

    Args:
        write: Writes the folder's model as a graph.
        of_graph: Creates the model from a graph.
        of_torch: Loads the model with sentence-transformers' classes.

    Raises:
        ModelError: It cannot be loaded, its backend cannot run it, or it needs custom code that
            is not trusted.
        InvalidArgumentError: The backend does not exist.
    """
    if not settings.trust_remote_code:
        refuse_code(folder)
    if model := torch_free(folder, settings, reporter, write):
        return of_graph(folder, model)
    return of_torch(folder, Placement(settings, reporter))


def torch_free(
    folder: Path,
    settings: EngineSettings,
    reporter: Reporter,
    write: GraphWriter,
) -> OnnxModel | None:
    """Return a model that runs without torch, or None if torch should run it.

    Args:
        write: Writes the folder's model as a graph.

    Raises:
        ModelError: The requested backend cannot run this model, or its files are damaged.
        InvalidArgumentError: The backend does not exist.
    """
    if settings.device == AUTO and (why := no_gpu()):
        report = reporter.notice if why.notable else reporter.detail
        report(f"using the CPU: {why.reason}")
    first = None
    for backend in _tried(settings):
        problem = backend.problem(settings)
        if problem is None:
            library = backend.library(settings)
            if library is None:
                reporter.detail(f"{backend.name} runs {folder.name}: {first or 'as requested'}")
                return None
            try:
                written = write(folder, plain=library.plain)
                return OnnxModel(written, settings, reporter, weights_hash(folder), library)
            except UnsupportedModelError as error:
                problem = f"{error} is not supported"
        first = first or problem
    raise ModelError(
        f"{settings.engine} cannot run {folder.name} here: {first}",
        code="engine-unavailable",
        engine=settings.engine,
    )


def _tried(settings: EngineSettings) -> Sequence[Backend]:
    """Return the backends that may run a model, in the order in which they are tried."""
    if settings.engine == AUTO:
        return [backend for backend in reversed(BACKENDS) if backend.automatic(settings)]
    return [find_backend(settings.engine)]


def find_backend(name: str) -> Backend:
    """Return the backend with a name: one of BACKENDS, or a plugin's.

    Raises:
        InvalidArgumentError: There is no such backend.
        PluginError: The plugin fails.
    """
    if backend := next((known for known in BACKENDS if known.name == name), None):
        return backend
    if plugin := plugin_named(GROUP, WHAT, name.lower()):
        return PluginBackend(name, plugin)
    raise InvalidArgumentError(
        f"unknown engine {name!r}", argument="engine", choices=(AUTO, *backend_names())
    )


def check_backend(name: str) -> None:
    """Check that a backend name is valid for `EngineSettings`; `auto` is.

    Raises:
        InvalidArgumentError: There is no such backend.
        PluginError: It is a plugin, which fails.
    """
    if name != AUTO:
        find_backend(name)


def backend_names() -> list[str]:
    """Return the names of all backends: the built-in ones and those of plugins."""
    return [*(backend.name for backend in BACKENDS), *sorted(installed_plugins(GROUP, WHAT))]


def installed_backends(device: str) -> list[str]:
    """Return the names of the installed backends for a device, as torch names it.

    A plugin that is broken counts as installed, so that using it reports the error.
    """
    settings = EngineSettings(device)

    def usable(name: str) -> bool:
        try:
            backend = find_backend(name)
            return backend.installed() and backend.problem(settings) is None
        except PluginError:
            return True

    return list(filter(usable, backend_names()))


class PluginBackend(Backend):
    """A backend of another package; its failures are reported in one line.

    Raises:
        PluginError: It cannot be loaded, or is not a backend.
    """

    def __init__(self, name: str, plugin: Plugin) -> None:
        provided = plugin.load()
        with plugin.failures("cannot be made"):
            made = provided() if isinstance(provided, type) else provided
        if not isinstance(made, Backend):
            raise plugin.unfit("is not an ettin_cli.models.engines.Backend")
        self.backend, self.plugin = made, plugin
        self.name, self.title, self.module = name, made.title, made.module

    def problem(self, settings: EngineSettings) -> str | None:
        """Return why it cannot run any model with these settings; None if it can."""
        with self.plugin.failures("failed"):
            return self.backend.problem(settings)

    def library(self, settings: EngineSettings) -> Library | None:
        """Return the library that loads graphs."""
        with self.plugin.failures("failed"):
            return self.backend.library(settings)
