"""What streams leave behind in memory: many of them, a third aborted, and many open at once.

The proxy runs with every detector on in both directions. Resident memory is read after a
warm-up, after each quarter of the streams, and with streams held open. Growth that
goes on from quarter to quarter is a leak; a step after the first is caches filling up.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import ssl
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import bench
import bench_targets
import bench_upstream
from bench_targets import HOST, Target

from penstock.cli.demo.certificate import write_server_certificate

POLICY = """
version: 1
name: soak
mode: enforce
rules:
  - id: no-secrets
    redact: {find: [secret, pii], in: [both], with: placeholder}
  - id: tokens
    limit: {tokens: 1_000_000_000, every: 1h, per: [workload]}
"""
AT_ONCE = 16  # streams under way at a time
WARM = 200
EVENTS = 24
EVENTS_BEFORE_ABORT = 6
PAUSE_SECONDS = 0.002  # between an upstream's events
SETTLE_SECONDS = 2.0
HOLD = b'"hold":true'


# ---------------------------------------------------------------------- the upstream


async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Stream an answer for each request; one that asks to be held stays open half-way."""
    try:
        while True:
            head = (await reader.readuntil(b"\r\n\r\n")).lower()
            size = int(head.partition(b"content-length:")[2].split(b"\r\n", 1)[0])
            body = await reader.readexactly(size)
            writer.write(bench_upstream.STREAM_HEAD)
            for number in range(EVENTS):
                writer.write(bench_upstream.STREAM[number])
                await writer.drain()
                await asyncio.sleep(PAUSE_SECONDS)
                if HOLD in body and number == EVENTS // 2:
                    await reader.read(1)
                    return
            writer.write(bench_upstream.STREAM[-1] + bench_upstream.STREAM_END)
            await writer.drain()
    except (OSError, asyncio.IncompleteReadError):
        pass
    finally:
        writer.close()


async def serve(port: int, certificate: str, key: str) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    server = await asyncio.start_server(answer, "127.0.0.1", port, ssl=context, backlog=512)
    await server.serve_forever()


# ---------------------------------------------------------------------- the clients


class Stream:
    """One streamed call through the proxy, on a connection of its own."""

    def __init__(self, target: Target, context: ssl.SSLContext) -> None:
        self.target = target
        self.context = context

    async def open(self, number: int, hold: bool = False) -> None:
        """Send the request."""
        reader, writer = await asyncio.open_connection(*self.target.address)
        writer.write(f"CONNECT {HOST}:443 HTTP/1.1\r\nhost: {HOST}:443\r\n\r\n".encode())
        await reader.readuntil(b"\r\n\r\n")
        await writer.start_tls(self.context, server_hostname=HOST)
        self.reader, self.writer = reader, writer
        data = bench.request(self.target, number, stream=True)
        if hold:
            head, _, body = data.partition(b"\r\n\r\n")
            old = f"content-length: {len(body)}".encode()
            body = body[:-1] + b"," + HOLD + b"}"
            head = head.replace(old, f"content-length: {len(body)}".encode())
            data = head + b"\r\n\r\n" + body
        writer.write(data)

    async def events(self, count: int) -> None:
        for _ in range(count):
            await self.reader.readuntil(b"\n\n")

    async def rest(self) -> None:
        await self.reader.readuntil(b"0\r\n\r\n")

    def abort(self) -> None:
        self.writer.transport.abort()


async def one(target: Target, context: ssl.SSLContext, number: int) -> None:
    stream = Stream(target, context)
    await stream.open(number)
    if number % 3 == 0:
        await stream.events(EVENTS_BEFORE_ABORT)
    else:
        await stream.rest()
    stream.abort()


async def many(target: Target, context: ssl.SSLContext, numbers: range) -> None:
    gate = asyncio.Semaphore(AT_ONCE)

    async def gated(number: int) -> None:
        async with gate:
            await one(target, context, number)

    await asyncio.gather(*(gated(number) for number in numbers))


async def held_open(target: Target, context: ssl.SSLContext, count: int) -> float:
    """MB of resident memory for each stream that is open and half-way."""
    before = bench.resident_mb(target)
    streams = [Stream(target, context) for _ in range(count)]
    for number, stream in enumerate(streams):
        await stream.open(number, hold=True)
        await stream.events(EVENTS // 2)
    await asyncio.sleep(SETTLE_SECONDS)
    after = bench.resident_mb(target)
    for stream in streams:
        stream.abort()
    return (after - before) / count


async def measure_open(target: Target, held: int) -> dict[str, object]:
    context = ssl.create_default_context(cafile=str(target.ca))
    await many(target, context, range(WARM))
    await asyncio.sleep(SETTLE_SECONDS)
    return {
        "open_streams": held,
        "mb_per_open_stream": round(await held_open(target, context, held), 3),
    }


async def measure(target: Target, streams: int) -> dict[str, object]:
    context = ssl.create_default_context(cafile=str(target.ca))
    await many(target, context, range(WARM))
    await asyncio.sleep(SETTLE_SECONDS)
    memory, began = [bench.resident_mb(target)], time.monotonic()
    for quarter in range(4):
        first = WARM + quarter * streams // 4
        await many(target, context, range(first, WARM + (quarter + 1) * streams // 4))
        await asyncio.sleep(SETTLE_SECONDS)
        memory.append(bench.resident_mb(target))
        print(f"{(quarter + 1) * streams // 4} streams: {memory[-1]:.1f} MB", file=sys.stderr)
    return {
        "streams": streams,
        "seconds": round(time.monotonic() - began, 1),
        "rss_mb_after_warm_up_and_quarters": [round(one, 1) for one in memory],
        "growth_kb_per_stream_after_first_quarter": round(
            (memory[4] - memory[1]) * 1000 / (streams * 3 / 4), 3
        ),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--streams", type=int, default=3000)
    parser.add_argument("--open", type=int, default=200, help="streams held open at once")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="penstock-soak-") as name:
        folder = Path(name)
        ca, certificate, key = write_server_certificate(folder, [HOST])
        port, policy = bench_targets.free_port(), folder / "policy.yaml"
        policy.write_text(POLICY)
        arguments = [sys.executable, __file__, "upstream", str(port), str(certificate), str(key)]
        upstream = subprocess.Popen(arguments)
        targets: list[Target] = []
        try:
            # Two processes: what one has freed would hide what the other's streams need.
            targets += [bench_targets.penstock(folder, port, ca, policy, "open")]
            result = asyncio.run(measure_open(targets[0], options.open))
            targets += [bench_targets.penstock(folder, port, ca, policy, "many")]
            result |= asyncio.run(measure(targets[1], options.streams))
        finally:
            for target in targets:
                assert target.process is not None  # a proxy has one
                target.process.terminate()
                target.process.wait(timeout=40)
            upstream.kill()
            upstream.wait()
    if options.json:
        print(json.dumps(result, indent=2))
    else:
        for label, value in result.items():
            print(f"{label.replace('_', ' ')}: {value}")


if __name__ == "__main__":
    if sys.argv[1:2] == ["upstream"]:
        asyncio.run(serve(int(sys.argv[2]), sys.argv[3], sys.argv[4]))
    else:
        main()
