"""Messages over a Unix socket: a JSON object, and bytes; file descriptors with the first.

A message is the length of the JSON and of the bytes as two big-endian integers of 32 bits, then
both. A string may have lone surrogates, as arguments that are not UTF-8 do.
"""

from __future__ import annotations

import json
import os
import socket
import struct
from collections.abc import Sequence
from typing import Any

LENGTHS = struct.Struct(">II")
MAX_HEADER = 1 << 30
MAX_DESCRIPTORS = 8
BLOCK = 1 << 20


def send(
    connection: socket.socket,
    header: dict[str, Any],
    content: bytes = b"",
    descriptors: Sequence[int] = (),
) -> None:
    """Send a message.

    Raises:
        OSError: The other side is gone, or does not read in time.
    """
    encoded = json.dumps(header).encode("ascii")
    lengths = LENGTHS.pack(len(encoded), len(content))
    if descriptors:
        socket.send_fds(connection, [lengths], list(descriptors))
        connection.sendall(encoded + content)
    else:
        connection.sendall(lengths + encoded + content)


def receive(connection: socket.socket) -> tuple[dict[str, Any], bytes, list[int]]:
    """Return the next message: the object, the bytes and the descriptors.

    Raises:
        OSError: The other side is gone, or does not send in time.
        ValueError: It is not a message.
    """
    lengths, descriptors, _, _ = socket.recv_fds(
        connection, LENGTHS.size, MAX_DESCRIPTORS, getattr(socket, "MSG_CMSG_CLOEXEC", 0)
    )
    try:
        lengths += _exactly(connection, LENGTHS.size - len(lengths))
        size, more = LENGTHS.unpack(lengths)
        if size > MAX_HEADER:
            raise ValueError(f"a message of {size} bytes")
        header = json.loads(_exactly(connection, size))
        if not isinstance(header, dict):
            raise ValueError("not an object")
        return header, _exactly(connection, more), descriptors
    except BaseException:
        for descriptor in descriptors:
            os.close(descriptor)
        raise


def _exactly(connection: socket.socket, size: int) -> bytes:
    pieces = []
    while size:
        piece = connection.recv(min(size, BLOCK))
        if not piece:
            raise ConnectionResetError("the connection was closed")
        pieces.append(piece)
        size -= len(piece)
    return b"".join(pieces)
