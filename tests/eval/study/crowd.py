"""Many participants at once over real connections. Each behaves as the page does: it loads a pair,
waits, answers, and repeats what was not acknowledged."""

from __future__ import annotations

import asyncio
import hashlib
import json
import random
import time
from dataclasses import dataclass, field

LOST = (OSError, EOFError, asyncio.IncompleteReadError, ValueError)


@dataclass
class Person:
    """One participant, and what was acknowledged to them."""

    number: int
    port: int
    cookie: str = ""
    code: str = ""
    """Which the server gives who has finished."""
    repeats: int = 0
    latencies: list[float] = field(default_factory=list)
    """Seconds of each answer that was acknowledged at the first attempt."""
    _stream: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    def choice(self, trial: int) -> str:
        """What they answer: fixed, so that the database can be compared."""
        return "AB"[hashlib.sha256(f"{self.cookie}/{trial}".encode()).digest()[0] % 2]

    async def session(self, look: float, think: float, rng: random.Random) -> None:
        """All trials: `look` seconds per pair, then an answer after up to 2 `think` seconds."""
        await asyncio.sleep(rng.random() * (look + think))
        _, headers, _ = await self._again("POST", "begin", None)
        self.cookie = headers["set-cookie"].partition(";")[0]
        state = await self._json("GET", "state")
        while not state["done"]:
            trial = state["trial"]
            await self._again("GET", f"pair/{trial}", None)
            await asyncio.sleep(look + rng.random() * 2 * think)
            body = {"trial": trial, "choice": self.choice(trial), "shown_ms": 1000.0}
            before, began = self.repeats, time.monotonic()
            state = await self._json("POST", "answer", body | {"answer_ms": 500.0})
            if self.repeats == before:
                self.latencies.append(time.monotonic() - began)
            assert state["trial"] == trial + 1, state
        self.code = state["code"]
        self._close()

    async def _json(self, method: str, path: str, body: dict | None = None) -> dict:
        status, _, content = await self._again(method, path, body)
        assert status == 200, (status, content[:200])
        return json.loads(content)

    async def _again(self, method: str, path: str, body: dict | None) -> tuple[int, dict, bytes]:
        while True:
            try:
                return await asyncio.wait_for(self._request(method, path, body), 20)
            except (*LOST, TimeoutError):
                self._close()
                self.repeats += 1
                await asyncio.sleep(0.3)

    async def _request(self, method: str, path: str, body: dict | None) -> tuple[int, dict, bytes]:
        if self._stream is None:
            self._stream = await asyncio.open_connection("127.0.0.1", self.port)
        reader, writer = self._stream
        content = json.dumps(body).encode() if body else b""
        head = f"{method} /{path} HTTP/1.1\r\nHost: x\r\nCookie: {self.cookie}\r\n"
        head += f"Content-Type: application/json\r\nContent-Length: {len(content)}\r\n\r\n"
        writer.write(head.encode() + content)
        await writer.drain()
        lines = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        headers = {}
        for line in filter(None, lines[1:]):
            name, _, value = line.partition(": ")
            headers[name.lower()] = value
        received = await reader.readexactly(int(headers["content-length"]))
        return int(lines[0].split()[1]), headers, received

    def _close(self) -> None:
        if self._stream:
            self._stream[1].close()
            self._stream = None


async def crowd(port: int, people: int, look: float, think: float) -> list[Person]:
    """Everybody's session, all at once."""
    rng = random.Random(0)
    persons = [Person(n, port) for n in range(people)]
    await asyncio.gather(*(person.session(look, think, rng) for person in persons))
    return persons
