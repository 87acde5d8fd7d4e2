"""What one host of the lab reaches on another: every TCP port is tried, from there."""

from __future__ import annotations

from collections.abc import Sequence

from lab import Host

# Batches of connections that are begun at once; those that stand after a while are open. On the lab's bridge an answer
# takes a millisecond, and no answer is what a closed port gives.
PROGRAM = """
import resource, socket, sys, time
hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
family, _, _, _, peer = socket.getaddrinfo(sys.argv[1], None, type=socket.SOCK_STREAM)[0]
ports = [port for part in sys.argv[2:] for first, _, last in [part.partition("-")]
         for port in range(int(first), int(last or first) + 1)]
size = min(4000, hard - 100)
for start in range(0, len(ports), size):
    tried = {port: socket.socket(family) for port in ports[start : start + size]}
    for port, each in tried.items():
        each.setblocking(False)
        each.connect_ex((peer[0], port, *peer[2:]))
    time.sleep(1)
    for port, each in tried.items():
        try:
            each.getpeername()
            print(port)
        except OSError:
            pass
        each.close()
"""


def open_ports(scanner: Host, address: str, ports: Sequence[str] = ("1-65535",)) -> list[int]:
    """Return the TCP ports of an address that `scanner` can connect to, among numbers and ranges of them."""
    scanner.put("/srv/scan.py", PROGRAM)
    found = scanner.run(f"python3 /srv/scan.py {address} {' '.join(ports)}", timeout=300)
    return [int(port) for port in found.stdout.split()]
