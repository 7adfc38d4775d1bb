"""A writer of Outlook messages: OLE files of streams in storages, as [MS-CFB] describes them."""

import struct
from pathlib import Path

Tree = dict[str, "bytes | Tree"]
SECTOR, NONE, END, FAT = 512, 0xFFFFFFFF, 0xFFFFFFFE, 0xFFFFFFFD
# Smaller streams would be in another structure.
LEAST = 4096


def write_outlook(path: Path, tree: Tree) -> Path:
    """Write streams and storages by name; streams are filled with zeros."""
    entries: list[list[object]] = [["Root Entry", 5, NONE, NONE, END, 0]]
    data: list[bytes] = []

    def add(parent: int, tree: Tree) -> None:
        before = None
        for name, value in tree.items():
            number = len(entries)
            entries.append([name, 1, NONE, NONE, END, 0])
            entries[parent if before is None else before][3 if before is None else 2] = number
            before = number
            if isinstance(value, bytes):
                content = value.ljust(LEAST, b"\0")
                entries[number][1:] = [2, NONE, NONE, len(data), len(content)]
                data.append(content + b"\0" * (-len(content) % SECTOR))
            else:
                add(number, value)

    add(0, tree)
    directory_sectors = -(-len(entries) // 4)
    starts, at = [], directory_sectors
    for content in data:
        starts.append(at)
        at += len(content) // SECTOR
    fat_sectors = -(-at // 127)
    chains = [range(directory_sectors)]
    chains += [range(s, s + len(c) // SECTOR) for s, c in zip(starts, data, strict=True)]
    table = [n + 1 if n != chain[-1] else END for chain in chains for n in chain]
    table += [FAT] * fat_sectors
    table += [NONE] * (128 * fat_sectors - len(table))
    folder = b""
    for name, kind, right, child, first, size in entries:
        encoded = (str(name) + "\0").encode("utf-16-le")
        begin = starts[int(str(first))] if kind == 2 else END
        folder += encoded.ljust(64, b"\0") + struct.pack(
            "<HBBIII", len(encoded), kind, 1, NONE, right, child
        )
        folder += bytes(36) + struct.pack("<IQ", begin, size)
    folder = folder.ljust(directory_sectors * SECTOR, b"\0")
    places = [at + n for n in range(fat_sectors)]
    header = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(16)
    header += struct.pack("<HHHHH6x", 0x3E, 3, 0xFFFE, 9, 6)
    header += struct.pack("<IIIIIIIIII", 0, fat_sectors, 0, 0, LEAST, END, 0, END, 0, places[0])
    header += struct.pack(f"<{len(places) - 1}I", *places[1:])
    header = header.ljust(SECTOR, b"\xff")
    path.write_bytes(header + folder + b"".join(data) + struct.pack(f"<{len(table)}I", *table))
    return path


def text_stream(name: str, text: str) -> Tree:
    return {f"__substg1.0_{name}001F": text.encode("utf-16-le")}


def fixed_stream(values: dict[int, int], header: int = 32) -> Tree:
    """Return the stream of the properties of fixed size, by their ids."""
    rows = (struct.pack("<HHIQ", 0x40, name, 6, value) for name, value in values.items())
    return {"__properties_version1.0": bytes(header) + b"".join(rows)}
