from .connection import Connection as Connection, Wanted as Wanted
from .host import Host as Host
from .over_http import PATH as PATH, McpRoute as McpRoute
from .over_stdio import bridge as bridge, claim_streams as claim_streams
from .places import locked as locked, prefix_of as prefix_of
from .protocol import (
    Indexed as Indexed,
    indexed as indexed,
    instructions as instructions,
    protocol_server as protocol_server,
    require_mcp as require_mcp,
)
from .routes import Routes as Routes
from .snippets import SNIPPETS as SNIPPETS
from .tools import ToolError as ToolError, Tools as Tools
from .updating import update_index as update_index
