"""Late interaction rerankers, which compare token vectors."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ettin_cli.models.engines.settings import EngineSettings
from ettin_cli.models.multi_vector.encoding import shared_token_encoder
from ettin_cli.models.multi_vector.reading import is_multi_vector, read_reading
from ettin_cli.models.rerankers.maxsim import LateInteractionReranker, TokenEncoder
from ettin_cli.models.rerankers.resolved import FolderReranker, Reference
from ettin_cli.records import Reporter, Reranker
from ettin_cli.runtime import Loaded

if TYPE_CHECKING:
    from ettin_cli.models.rerankers.maxsim import WordCounts


class LateInteractionModel(FolderReranker):
    """A multi-vector model: a hub id, or a folder."""

    reads_pairs = False
    ranks_by = "the vectors of tokens"

    def load(self, settings: EngineSettings, reporter: Reporter, loaded: Loaded) -> Reranker:
        """Load the model.

        Raises:
            ModelError: It cannot be loaded, or not on the requested device.
        """
        encoder = shared_token_encoder(self.files.folder, settings, reporter, loaded)
        return LateInteractionReranker(self.name, encoder, reporter)

    def over(
        self,
        stored: TokenEncoder,
        encoder: TokenEncoder,
        counts: WordCounts | None,
        reporter: Reporter,
    ) -> Reranker | None:
        """Return the reranker over stored token vectors."""
        return LateInteractionReranker(self.name, stored, reporter)

    def prompt(self) -> str:
        """Return the prefix of every text."""
        return read_reading(self.files.folder).document_prompt


def find(reference: Reference) -> LateInteractionModel | None:
    """Return the multi-vector model of a reference; None if it is another kind of model.

    Raises:
        ModelError: The model does not exist or is incomplete.
    """
    files = reference.files
    return LateInteractionModel(files) if is_multi_vector(files.folder) else None
