from .examples import (
    POSITIVE as POSITIVE,
    Example as Example,
    example as example,
    holds_example as holds_example,
    negative_fields as negative_fields,
    text_fields as text_fields,
)
from .fields import RequestFields as RequestFields, pair as pair, renumbered as renumbered
from .measured_rows import MeasuredRows as MeasuredRows
from .pairs import rejection as rejection
from .reading import (
    CutRequests as CutRequests,
    RequestFile as RequestFile,
    cut_requests as cut_requests,
    open_requests as open_requests,
    piece_requests as piece_requests,
)
from .rows import (
    cut_rows as cut_rows,
    piece_of as piece_of,
    read_rows as read_rows,
    readable as readable,
)
from .spool import Spool as Spool
from .values import DOCUMENT as DOCUMENT, QUERY as QUERY, name_of as name_of
