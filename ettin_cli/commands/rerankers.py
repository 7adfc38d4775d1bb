"""What `-r` names: a reranker, or several one behind another."""

from collections.abc import Sequence
from dataclasses import dataclass

from ettin_cli.console import Console
from ettin_cli.engines import EngineSettings
from ettin_cli.hub import ModelFiles
from ettin_cli.loading import Loaded
from ettin_cli.pipeline.cascade import Step, cascade_name, parse_cascade
from ettin_cli.records import Reranker
from ettin_cli.reranking import find_reranker, load_reranker
from ettin_cli.windows import reading


@dataclass(frozen=True, slots=True)
class FoundRerankers:
    """The files of a reranker, and of those that score before it with how many they keep."""

    last: ModelFiles
    before: Sequence[tuple[ModelFiles, int]] = ()

    @property
    def files(self) -> list[ModelFiles]:
        """All of the models."""
        return [*(files for files, _ in self.before), self.last]

    @property
    def name(self) -> str:
        """What results call them."""
        return cascade_name([(files.name, keep) for files, keep in self.before], self.last.name)


def find_rerankers(text: str, *, offline: bool, console: Console) -> FoundRerankers:
    """Return the files of what `-r` names.

    Raises:
        UsageError: It is neither a reranker nor several of them.
        ModelError: One is not to be had.
    """
    before, last = parse_cascade(text)
    found = [
        (find_reranker(name, offline=offline, reporter=console), keep) for name, keep in before
    ]
    return FoundRerankers(find_reranker(last, offline=offline, reporter=console), found)


def load_rerankers(
    found: FoundRerankers,
    engine: EngineSettings,
    long: str,
    console: Console,
    loaded: Loaded | None = None,
) -> tuple[Reranker, list[Step[Reranker]]]:
    """Load a reranker and those before it.

    Args:
        loaded: What their models are shared in with an embedder.

    Raises:
        ModelError: One cannot be loaded.
    """

    def ready(files: ModelFiles) -> Reranker:
        reranker = reading(load_reranker(files, engine, console, loaded), files, long, console)
        console.detail(f"reranking with {reranker.name} on {reranker.engine}")
        return reranker

    before = [Step(ready(files), keep) for files, keep in found.before]
    return ready(found.last), before
