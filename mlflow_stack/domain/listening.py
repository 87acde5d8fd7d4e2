"""Where a service listens: an address and a port, or a Unix socket; and how its own host reaches it there."""

from __future__ import annotations

import ipaddress

# What the settings tracking_bind and production_bind say for a Unix socket.
UNIX = "unix"


def is_any(bind: str) -> bool:
    """Return whether a service listens on all addresses of its host."""
    return bind != UNIX and ipaddress.ip_address(bind).is_unspecified


def is_address(name: str) -> bool:
    """Return whether this is an IP address and no name."""
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def is_loopback(name: str) -> bool:
    """Return whether a name or address means each computer itself, as that of a forwarded port does."""
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return name == "localhost"


def is_local(bind: str) -> bool:
    """Return whether only the host itself can reach a service."""
    return bind == UNIX or is_loopback(bind)


def own_address(bind: str) -> str:
    """Return the address by which a host reaches its own service over TCP."""
    return "127.0.0.1" if bind == UNIX or is_any(bind) else bind


def stream(bind: str, port: int, socket: str) -> str:
    """Return what a socket unit's ListenStream= says; `socket` is the path of the Unix socket."""
    return socket if bind == UNIX else f"{bind}:{port}"


def url(bind: str, port: int, socket: str) -> str:
    """Return the address by which a host's own programs reach a service (on_host/ready.py)."""
    return f"unix:{socket}" if bind == UNIX else f"http://{own_address(bind)}:{port}"


def bracketed(name: str) -> str:
    """Return a host as a URL has it."""
    return f"[{name}]" if ":" in name else name
