"""How much one core reads: MB/s of streamed events, and exchanges/s of ``penstock inspect``.

Events are chat and message deltas of a few characters, as models send them; every detector
looks at their texts. ``unscanned`` is the same stream under a policy that cannot change it.
``process`` is a whole running proxy, TLS on both sides, in MB per second of its CPU time.
"""

from __future__ import annotations

import argparse
import json
import ssl
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import bench
import bench_targets
import bench_upstream
import soak

from penstock import wire
from penstock.cli.demo.certificate import write_server_certificate
from penstock.destinations import identify
from penstock.detect import Detectors, known_types
from penstock.detect.stream import scanner
from penstock.exchange import HttpRequest
from penstock.wire.channel_text import ChannelScanner
from penstock.wire.family import Channel
from penstock.wire.stream import AnswerStream

SENTENCE = (
    "The gate lets water out of the dam in a measured way, and the turbine below turns it into "
    "power; on 3 May the level was 12.5 m, which is why the second unit was started early."
)
WORDS = SENTENCE.split()
EVENTS = 4000
READ_BYTES = 16 * 1024  # what a read from a busy connection brings
EXCHANGES = 20_000
STREAMS = 400  # of the whole process


def chat_events() -> bytes:
    """A streamed chat completion."""
    head = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1767225600}
    events = []
    for number in range(EVENTS):
        delta = {"content": f" {WORDS[number % len(WORDS)]}"}
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": None}
        chunk = {**head, "model": "gpt-5-mini-2026-01-01", "choices": [choice]}
        events.append(f"data: {json.dumps(chunk, separators=(',', ':'))}\n\n")
    return "".join(events).encode()


def message_events() -> bytes:
    """A streamed message."""
    events = []
    for number in range(EVENTS):
        delta = {"type": "text_delta", "text": f" {WORDS[number % len(WORDS)]}"}
        event = {"type": "content_block_delta", "index": 0, "delta": delta}
        data = json.dumps(event, separators=(",", ":"))
        events.append(f"event: content_block_delta\ndata: {data}\n\n")
    return "".join(events).encode()


SHAPES: dict[str, tuple[str, str, Callable[[], bytes]]] = {
    "chat": ("api.openai.com", "/v1/chat/completions", chat_events),
    "messages": ("api.anthropic.com", "/v1/messages", message_events),
}


def stream_rate(shape: str, seconds: float, *, scanned: bool, at_once: bool) -> float:
    """MB/s of one stream after the other. ``at_once``: in large reads, else event by event."""
    host, path, make = SHAPES[shape]
    body = b'{"model":"m","stream":true,"messages":[]}'
    data, detectors = make(), Detectors(known_types())
    pieces = [event + b"\n\n" for event in data.split(b"\n\n")[:-1]]
    if at_once:
        pieces = [data[at : at + READ_BYTES] for at in range(0, len(data), READ_BYTES)]

    def scan(channel: Channel) -> ChannelScanner:
        return scanner(detectors, known_types(), lambda finding, _: f"[{finding.type}]")

    began, done = 0.0, -len(data)  # the first stream warms up
    while True:
        request = HttpRequest("POST", "https", host, 443, path, {}, body)
        exchange = wire.read_request(request, identify(host, 443, path))
        family = wire.family_of(exchange.api)
        stream = AnswerStream(exchange, family, "sse", scan if scanned else None)
        for piece in pieces:
            stream.feed(piece)
        stream.end()
        done += len(data)
        if done == 0:
            began = time.thread_time()
        elif (spent := time.thread_time() - began) > seconds:
            return done / spent / 1e6


def inspect_rate() -> dict[str, float]:
    """Exchanges/s of 2 KB with and without the start of the process."""
    text = "Explain how water reaches the turbine, and what the gate is for. " * 12
    request = {"model": "gpt-5-mini", "messages": [{"role": "user", "content": text}]}
    answer = json.loads(bench_upstream.plain_answer().partition(b"\r\n\r\n")[2])
    answer["choices"][0]["message"]["content"] = text[:600]
    kind = {"content-type": "application/json"}
    url = "https://api.openai.com/v1/chat/completions"
    line = json.dumps(
        {
            "request": {"method": "POST", "url": url, "headers": kind, "body": json.dumps(request)},
            "response": {"status": 200, "headers": kind, "body": json.dumps(answer)},
        }
    )
    with tempfile.TemporaryDirectory(prefix="penstock-throughput-") as name:
        file = Path(name) / "exchanges.jsonl"
        took = []
        for count in (1, EXCHANGES):
            file.write_text(f"{line}\n" * count)
            began = time.monotonic()
            subprocess.run(
                [sys.executable, "-m", "penstock", "inspect", "--jsonl", str(file)],
                stdout=subprocess.DEVNULL,
                check=True,
            )
            took.append(time.monotonic() - began)
    return {
        "inspect_bytes_per_exchange": float(len(line)),
        "inspect_per_second": EXCHANGES / took[1],
        "inspect_per_second_without_start": EXCHANGES / (took[1] - took[0]),
    }


def read_stream(connection: ssl.SSLSocket, request: bytes) -> None:
    """One streamed call, to its last event."""
    connection.sendall(request)
    buffer = b""
    while not buffer.endswith(b"[DONE]\n\n\r\n0\r\n\r\n"):
        buffer += bench.receive(connection)


def process_rate() -> float:
    """MB of events for each second of the proxy's CPU, all detectors on."""
    with tempfile.TemporaryDirectory(prefix="penstock-throughput-") as name:
        folder = Path(name)
        ca, certificate, key = write_server_certificate(folder, [bench_targets.HOST])
        port, policy = bench_targets.free_port(), folder / "policy.yaml"
        policy.write_text(soak.POLICY)
        serving = [sys.executable, bench_upstream.__file__, str(port), str(certificate), str(key)]
        upstream = subprocess.Popen(serving)
        target = bench_targets.penstock(folder, port, ca, policy)
        assert target.process is not None  # a proxy has one
        try:
            with bench.connect(target) as connection:
                request = bench.request(target, 0, stream=True)
                read_stream(connection, request)
                before = bench.cpu_seconds(target)
                for _ in range(STREAMS):
                    read_stream(connection, request)
                spent = bench.cpu_seconds(target) - before
        finally:
            target.process.terminate()
            target.process.wait(timeout=40)
            upstream.kill()
            upstream.wait()
    return STREAMS * sum(map(len, bench_upstream.STREAM)) / spent / 1e6


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=2.0, help="of each stream measurement")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    result: dict[str, Any] = {}
    for shape in SHAPES:
        for at_once in (False, True):
            fed = "16KB" if at_once else "event"
            for scanned in (True, False):
                what = "scanned" if scanned else "unscanned"
                rate = stream_rate(shape, options.seconds, scanned=scanned, at_once=at_once)
                result[f"{shape}_{what}_by_{fed}_mb_s"] = rate
    result["process_mb_per_cpu_second"] = process_rate()
    result |= inspect_rate()
    if options.json:
        print(json.dumps(result, indent=2))
    else:
        for label, value in result.items():
            print(f"{label.replace('_', ' ')}: {value:,.1f}")


if __name__ == "__main__":
    main()
