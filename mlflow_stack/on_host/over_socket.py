"""over_socket SOCKET COMMAND…: run a program of MLflow's, which knows http:// alone, with a server on a Unix socket.

It listens on a port of its own, passes each connection on to SOCKET, and tells COMMAND by MLFLOW_TRACKING_URI. Its exit
status is that of COMMAND. Any user of the host could use the port, so it runs with a network of its own
(PrivateNetwork= of systemd-run), where there is nobody else.
"""

import asyncio
import os
import sys
from contextlib import suppress

CHUNK = 1 << 16


async def pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Copy one direction, its end included."""
    with suppress(OSError):
        while chunk := await reader.read(CHUNK):
            writer.write(chunk)
            await writer.drain()
        writer.write_eof()


async def main() -> int:
    path, *command = sys.argv[1:]

    async def connect(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            there, back = await asyncio.open_unix_connection(path)
        except OSError as error:
            print(f"{path}: {error.strerror}", file=sys.stderr)
            writer.close()
            return
        await asyncio.gather(pass_on(reader, back), pass_on(there, writer))
        back.close()
        writer.close()

    server = await asyncio.start_server(connect, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    environment = {**os.environ, "MLFLOW_TRACKING_URI": f"http://127.0.0.1:{port}"}
    process = await asyncio.create_subprocess_exec(*command, env=environment)
    return await process.wait()


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
