"""TCP with a round-trip time: `python -m bench.relay MILLISECONDS HOST:PORT=TARGET:PORT…`

Each byte is passed on half the round-trip time after it came, and a connection begins one round-trip time late, as a
handshake would. Throughput is not limited. It stands in for `tc netem`, which not every kernel has, and it needs no
rights. It prints "ready" when all ports listen and ends when its standard input is closed.
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

CHUNK = 1 << 16
IN_FLIGHT = 1 << 10  # chunks that wait for their time: 64 MiB, 2.6 GB/s at 25 ms each way


@contextmanager
def relay(round_trip_ms: int, routes: Mapping[str, str]) -> Iterator[None]:
    """Pass connections on, from each "HOST:PORT" of `routes` to its target, while the context lasts."""
    command = [sys.executable, "-m", "bench.relay", str(round_trip_ms), *(f"{a}={b}" for a, b in routes.items())]
    root = Path(__file__).resolve().parent.parent
    process = subprocess.Popen(command, cwd=root, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdin
    assert process.stdout
    try:
        if process.stdout.readline() != "ready\n":
            raise RuntimeError(f"the relay did not start (exit status {process.wait(10)}): {' '.join(command)}")
        yield
    finally:
        process.stdin.close()
        process.wait(10)
        process.stdout.close()


async def _pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, delay: float) -> None:
    """Copy one direction, each chunk `delay` seconds late, its end included."""
    clock = asyncio.get_running_loop().time
    waiting: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(IN_FLIGHT)

    async def read() -> None:
        chunk = b"first"
        while chunk:
            try:
                chunk = await reader.read(CHUNK)
            except OSError:  # a reset is an end
                chunk = b""
            await waiting.put((clock() + delay, chunk))

    reading = asyncio.create_task(read())
    try:
        while True:
            due, chunk = await waiting.get()
            if (left := due - clock()) > 0:
                await asyncio.sleep(left)
            if not chunk:
                break
            writer.write(chunk)
            await writer.drain()
        writer.write_eof()
    except OSError:
        pass
    finally:
        reading.cancel()


async def _serve(round_trip: float, routes: Mapping[str, str]) -> None:
    async def connect(target: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(round_trip)
        try:
            there, back = await asyncio.open_connection(*_address(target))
        except OSError:
            writer.close()
            return
        with suppress(asyncio.CancelledError):  # the relay ends while the connection is open
            await asyncio.gather(_pass_on(reader, back, round_trip / 2), _pass_on(there, writer, round_trip / 2))
        back.close()
        writer.close()

    def handler(target: str) -> Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]:
        return lambda reader, writer: connect(target, reader, writer)

    servers = [await asyncio.start_server(handler(target), *_address(at), limit=CHUNK) for at, target in routes.items()]
    print("ready", flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    for server in servers:
        server.close()


def _address(text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    return host, int(port)


if __name__ == "__main__":
    asyncio.run(_serve(int(sys.argv[1]) / 1000, dict(route.split("=", 1) for route in sys.argv[2:])))
