from .delimited import CSV as CSV
from .json import HIT_LINES as HIT_LINES, JSONL as JSONL
from .paths import place as place
from .registry import (
    AUTO as AUTO,
    TABLE as TABLE,
    WRITERS as WRITERS,
    find_writer as find_writer,
    format_for as format_for,
    formats as formats,
    holds_measurement as holds_measurement,
    holds_races as holds_races,
    ignored_plugins as ignored_plugins,
    is_run as is_run,
    write_answers as write_answers,
    writer_of as writer_of,
)
from .trec import (
    best_scores as best_scores,
    decreasing as decreasing,
    trec_lines as trec_lines,
    trec_ranking as trec_ranking,
)
from .writer import (
    RUN_NAME as RUN_NAME,
    BinaryWriter as BinaryWriter,
    DocumentWriter as DocumentWriter,
    Layout as Layout,
    RowWriter as RowWriter,
    TextWriter as TextWriter,
    Writer as Writer,
)
