"""A NIM server with a fixed pace, independent of load: `python -m benchmarks.serving.provider PORT FIRST_S PACE_S TOKENS`."""

from __future__ import annotations

import asyncio
import json
import sys


def _event(delta: dict[str, object], finish: str | None = None) -> bytes:
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    data = json.dumps({"object": "chat.completion.chunk", "model": "paced", "choices": [choice]})
    return _chunk(f"data: {data}\n\n".encode())


def _chunk(data: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(data), data)


_HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
_ROLE = _event({"role": "assistant", "content": None})
_WORD, _CITED = _event({"content": " words"}), _event({"content": " words. [1]"})
_END = _event({}, "stop") + _chunk(b"data: [DONE]\n\n") + b"0\r\n\r\n"


async def main(port: int, first_s: float, pace_s: float, tokens: int) -> None:
    """Serve until stopped."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).lower()
                length = int(head.partition(b"content-length:")[2].partition(b"\r\n")[0] or 0)
                await reader.readexactly(length)
                writer.write(_HEAD + _ROLE)
                await asyncio.sleep(first_s)
                for _ in range(tokens - 1):
                    writer.write(_WORD)
                    await writer.drain()
                    await asyncio.sleep(pace_s)
                writer.write(_CITED + _END)
                await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", port, backlog=2_000)
    print("ready", flush=True)
    async with server:
        await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), float(sys.argv[2]), float(sys.argv[3]), int(sys.argv[4])))
