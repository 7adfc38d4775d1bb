from .closing import Closing as Closing
from .forks import (
    TOKENIZERS as TOKENIZERS,
    Lock as Lock,
    Once as Once,
    forget_inherited as forget_inherited,
    guard_children as guard_children,
    hold_to_one_thread as hold_to_one_thread,
)
from .in_order import counted as counted, in_order as in_order
from .loading import Loaded as Loaded
from .plugins import (
    Plugin as Plugin,
    installed_plugins as installed_plugins,
    plugin_named as plugin_named,
)
from .products import product as product
from .quiet import is_quiet as is_quiet, quieten as quieten
