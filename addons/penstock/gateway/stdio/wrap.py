"""One stdio server behind this process's own stdin and stdout, every line judged on its way."""

from __future__ import annotations

import asyncio
import os
import secrets
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from penstock.exchange import Caller
from penstock.gateway.calls import Calls, Server
from penstock.gateway.stdio.child import END_SECONDS, Child
from penstock.gateway.stdio.lines import LINE_BYTES_MAX, Lines, Output, OverlongLineError, reader_of
from penstock.gateway.stdio.process_keys import environment_of
from penstock.gateway.stdio.session import Said, Session
from penstock.proxy.service import Service

FORWARDED_SIGNALS = (
    signal.SIGINT,
    signal.SIGTERM,
    signal.SIGHUP,
    signal.SIGQUIT,
    signal.SIGUSR1,
    signal.SIGUSR2,
)
ENDING_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)
OVERLONG_CODE = 1  # the conversation could not go on


@dataclass(slots=True)
class Wrap:
    """What runs and under which name; ``service`` is prepared."""

    service: Service
    name: str
    command: Sequence[str]
    environment: Mapping[str, str]
    tell: Callable[[str], None]
    line_bytes_max: int = LINE_BYTES_MAX
    keys: Mapping[str, str] = field(default_factory=dict)  # variable -> credential rule

    async def run(self) -> int:
        """Until the server has ended; its exit code (128 + N after signal N).

        Raises:
            OSError: the server cannot be started.
            SourceError: a key of its is not to be had.
        """
        async with self.service.kept_up():
            keys = await environment_of(self.keys, self.service.governance)
            child = await Child.start(self.command, {**self.environment, **keys})
            loop = asyncio.get_running_loop()
            for number in FORWARDED_SIGNALS:
                loop.add_signal_handler(number, self.pass_on, child, number)
            session = Session(self.calls(), self.caller(), self.tell, self.service.on_error)
            try:
                return await self.converse(child, session)
            finally:
                for number in FORWARDED_SIGNALS:
                    loop.remove_signal_handler(number)

    def calls(self) -> Calls:
        return Calls(self.service.governance, Server.at(f"stdio://{self.name}"))

    def caller(self) -> Caller:
        """Whoever started this process: the client whose server this stands for."""
        governance = self.service.governance
        finder = governance.processes
        return Caller(
            workload=governance.workload,
            session=f"stdio:{secrets.token_hex(8)}",
            process=finder.named(os.getppid()) if finder is not None else None,
        )

    async def converse(self, child: Child, session: Session) -> int:
        """Pass lines on until one of the two is gone."""
        read, out = await reader_of(sys.stdin.buffer), await Output.over(sys.stdout.buffer)

        async def later(said: Said) -> None:
            await out.write(said.to_client)
            await child.write(said.to_server)

        session.later = later
        up = asyncio.create_task(self.upward(Lines(read, self.line_bytes_max), child, session, out))
        down = asyncio.create_task(
            self.downward(Lines(child.read, self.line_bytes_max), child, session, out)
        )
        ended = asyncio.create_task(child.wait())
        tasks = [up, down, ended]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            by_client = up.done() and not ended.done()
            if down.done() and not ended.done():  # nobody reads it any more: it must not wait
                tasks.append(asyncio.create_task(child.discard()))
                if down.exception() is not None:
                    child.signal(signal.SIGTERM)
            code = ended.result() if ended.done() else await child.stop()
            await asyncio.wait({down}, timeout=END_SECONDS)  # what it said last
            await session.end(by_client)
            child.signal(signal.SIGTERM)  # what it started and left behind
            await out.close()
        finally:
            for task in tasks:
                task.cancel()
            results = await asyncio.gather(*tasks, return_exceptions=True)
        for one in results:
            if isinstance(one, OverlongLineError):
                self.tell(f"a line is longer than {self.line_bytes_max} bytes: nothing can follow")
                return OVERLONG_CODE
            if isinstance(one, Exception):
                raise one
        return code

    async def upward(self, lines: Lines, child: Child, session: Session, out: Output) -> None:
        while line := await lines.next():
            said = await session.from_client(line)
            await out.write(said.to_client)
            await child.write(said.to_server)

    async def downward(self, lines: Lines, child: Child, session: Session, out: Output) -> None:
        while (line := await lines.next()) and not out.closed:
            said = await session.from_server(line)
            await child.write(said.to_server)
            await out.write(said.to_client)

    def pass_on(self, child: Child, number: int) -> None:
        """A signal for us is one for the server; one that ends is given time, not for ever."""
        child.signal(number)
        if number in ENDING_SIGNALS:
            asyncio.get_running_loop().call_later(END_SECONDS, self.insist, child)

    def insist(self, child: Child) -> None:
        if child.running:
            child.signal(signal.SIGKILL)
