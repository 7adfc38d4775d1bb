from .beir import QRELS as QRELS, QUERIES as QUERIES, beir_file as beir_file
from .output import (
    check_folder_of as check_folder_of,
    only_writer as only_writer,
    output_errors as output_errors,
    output_file as output_file,
)
from .queries import read_queries as read_queries
from .query_records import query_of as query_of, query_record as query_record
from .resuming import (
    Digested as Digested,
    ResumableFile as ResumableFile,
    ResumableOutput as ResumableOutput,
    files_beside as files_beside,
    json_rows as json_rows,
    reject_line as reject_line,
)
from .trec import read_qrels as read_qrels, read_run as read_run, without_spaces as without_spaces
