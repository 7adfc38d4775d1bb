from .command import handed_over as handed_over
from .places import (
    COMMANDS_SOCKET as COMMANDS_SOCKET,
    MODELS_SOCKET as MODELS_SOCKET,
    connected as connected,
    difference as difference,
    enter_daemon as enter_daemon,
    has_daemons as has_daemons,
    identity as identity,
    in_daemon as in_daemon,
    make_private as make_private,
    runtime_folder as runtime_folder,
    unsafe as unsafe,
)
from .wire import receive as receive, send as send
