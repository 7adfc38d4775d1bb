from .help import LazyGroup as LazyGroup, Listed as Listed
from .hints import hint_of as hint_of
