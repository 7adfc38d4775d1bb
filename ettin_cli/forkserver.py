"""The main program of the fork server, which the daemon starts; see `daemon.fork_server`."""

import socket
import sys

from ettin_cli.cli import main
from ettin_cli.daemon import ForkServer, preload


def run() -> None:
    """Serve with the listener and the connection of the daemon given as descriptors."""
    listener, daemon = (socket.socket(fileno=int(word)) for word in sys.argv[1:3])
    preload()
    ForkServer(listener, daemon, main).serve()


if __name__ == "__main__":
    run()
