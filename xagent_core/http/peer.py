"""Says whether a caller on the loopback interface is a process of this user, by the kernel's own table of sockets.

Without it, a server on 127.0.0.1 that asks for no token would run code, and give files, for every user of the machine.
"""

from __future__ import annotations

import ipaddress
import os
import struct
from pathlib import Path
from typing import Final

__all__ = ["is_loopback", "is_own_process"]

Address = tuple[str, int]

# proc(5), /proc/net/tcp: "local_address" and "rem_address" are the kernel's own words of 32 bits in hexadecimal, so
# in the machine's byte order, and a port; then st, tx:rx, tr:when, retrnsmt, uid, timeout, inode.
_TABLES: Final = (Path("/proc/self/net/tcp"), Path("/proc/self/net/tcp6"))
_LOCAL, _REMOTE, _UID, _INODE = 1, 2, 7, 9


def is_loopback(host: str) -> bool:
    """Whether an address (not a name) can only be reached from this machine."""
    address = _parsed(host)
    return address is not None and address.is_loopback


def is_own_process(client: Address | None, server: Address | None) -> bool:
    """Whether the other end of a connection belongs to this user, or to root, who may do everything anyway.

    Args:
        client: The other end's address and port.
        server: This end's.

    Returns:
        False too where the kernel cannot tell, such as for a caller that has closed its socket already.
    """
    if client is None or server is None or not (is_loopback(client[0]) and is_loopback(server[0])):
        return False
    ends = [(_words(*client, mapped=mapped), _words(*server, mapped=mapped)) for mapped in (False, True)]
    for table in _TABLES:
        try:
            lines = table.read_text("ascii").splitlines()[1:]
        except OSError:
            continue  # there may be no IPv6
        for line in lines:
            columns = line.split()
            if (columns[_LOCAL], columns[_REMOTE]) in ends:
                # A socket that its process has left belongs to nobody: inode 0, and uid 0.
                return columns[_INODE] != "0" and int(columns[_UID]) in (0, os.geteuid())
    return False


def _parsed(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address


def _words(host: str, port: int, *, mapped: bool) -> str:
    """An address as the table writes it; an IPv4 address also as a socket of IPv6 has it."""
    address = _parsed(host)
    packed = address.packed if address else b""
    if mapped and len(packed) == 4:
        packed = b"\0" * 10 + b"\xff\xff" + packed
    words = struct.unpack(f"={len(packed) // 4}I", packed)
    return f"{''.join(f'{word:08X}' for word in words)}:{port:04X}"
