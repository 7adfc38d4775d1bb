from .fork_server import ForkServer as ForkServer, preload as preload
from .inquiry import Status as Status, status as status, stop as stop
from .process import Daemon as Daemon, detached as detached
from .warm_models import WarmModels as WarmModels
