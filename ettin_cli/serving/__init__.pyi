from .access import TOKEN as TOKEN, Access as Access, token_of as token_of
from .activity import Activity as Activity, end_process as end_process
from .app import Application as Application
from .exchange import Limits as Limits
from .guard import MAX_BODY as MAX_BODY, Policy as Policy
from .scheduled_models import ScheduledModels as ScheduledModels
from .scheduler import Job as Job, Scheduler as Scheduler
from .scores import SCALES as SCALES
from .served import Served as Served
from .served_index import ServedIndex as ServedIndex
from .served_models import ServedEmbedder as ServedEmbedder, ServedReranker as ServedReranker
from .server import (
    LOCALHOST as LOCALHOST,
    Address as Address,
    listening as listening,
    require_serve as require_serve,
    serve as serve,
)
from .watching import Watch as Watch, require_watch as require_watch
