"""Models: found, downloaded, loaded and run."""

from ettin_cli.models.embedders import (
    AUTO,
    check_trust,
    find_embedder,
    load_embedder,
    note_dimensions,
    read_card,
)
from ettin_cli.models.encoders import unit
from ettin_cli.models.hub import (
    EMBEDDED,
    ModelFiles,
    cached_folder,
    embedded_folder,
    find_model,
    hub_name,
    read_json,
    read_modules,
    refuse_code,
    weights_hash,
)
from ettin_cli.models.token_counting import load_token_counter

__all__ = [
    "AUTO",
    "EMBEDDED",
    "ModelFiles",
    "cached_folder",
    "check_trust",
    "embedded_folder",
    "find_embedder",
    "find_model",
    "hub_name",
    "load_embedder",
    "load_token_counter",
    "note_dimensions",
    "read_card",
    "read_json",
    "read_modules",
    "refuse_code",
    "unit",
    "weights_hash",
]
