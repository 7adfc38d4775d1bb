"""A model's name -> a folder with its files: given, embedded, cached, or fetched.

Loads no model and imports no torch, so that a model that is missing is said at once.
"""

from ettin_cli.hub.client import is_offline
from ettin_cli.hub.files import (
    EMBEDDED,
    ModelFiles,
    check_folder,
    embedded_folder,
    read_json,
    weights_hash,
)
from ettin_cli.hub.finding import cached_folder, find_model, hub_name, on_this_machine

__all__ = [
    "EMBEDDED",
    "ModelFiles",
    "cached_folder",
    "check_folder",
    "embedded_folder",
    "find_model",
    "hub_name",
    "is_offline",
    "on_this_machine",
    "read_json",
    "weights_hash",
]
