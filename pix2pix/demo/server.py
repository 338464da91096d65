"""The demo as a web server (Starlette)."""

from __future__ import annotations

import asyncio
import io
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape
from PIL import Image
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import BaseRoute, Route
from starlette.types import ASGIApp

from pix2pix.common import web
from pix2pix.common.errors import UserError
from pix2pix.data.registry import IGNORED
from pix2pix.demo.models import Demo

MOST_BYTES = 8_000_000
"""Of an image file that is loaded."""
MOST_DRAWS = 1_000_000
PAGES = Path(__file__).parent / "pages"
STATIC = {"demo.css": "text/css", "demo.js": "text/javascript"}


@dataclass(frozen=True)
class Server:
    """The endpoints."""

    demo: Demo
    _one: asyncio.Lock = field(default_factory=asyncio.Lock)
    """One translation at a time: their noise comes from torch's global generator."""

    async def page(self, request: Request) -> Response:
        environment = Environment(
            loader=PackageLoader("pix2pix.demo", "pages"),
            autoescape=select_autoescape(["html", "j2"]),
            undefined=StrictUndefined,
            trim_blocks=True,
        )
        height, width = self.demo.size
        text = environment.get_template("demo.html.j2").render(
            demo=self.demo,
            height=height,
            width=width,
            colours=self.demo.drawing.colours[: self.demo.drawing.values].tolist(),
        )
        return HTMLResponse(text)

    async def translate(self, request: Request) -> Response:
        """(H·W) bytes of a drawing to a PNG, for `/translate/MODEL/DRAW`."""
        model, draw = request.path_params["model"], request.path_params["draw"]
        if model >= len(self.demo.models) or draw > MOST_DRAWS:
            raise HTTPException(404, "no such generator or draw")
        height, width = self.demo.size
        values = np.frombuffer(await request.body(), np.uint8)
        if values.size != height * width:
            raise HTTPException(422, f"must be {height * width} bytes, one per pixel")
        if values[values != IGNORED].max(initial=0) >= self.demo.drawing.values:
            raise HTTPException(422, "holds a value that does not exist")
        values = values.reshape(height, width)
        async with self._one:
            image_of, translate = self.demo.drawing.image, self.demo.models[model].translate
            image = await self._checked(lambda: translate(image_of(values), draw))
        content = io.BytesIO()
        Image.fromarray(image).save(content, "PNG", compress_level=1)
        return Response(content.getvalue(), media_type="image/png")

    async def example(self, request: Request) -> Response:
        """The drawing of an image of the test split."""
        number = request.path_params["number"]
        if number >= len(self.demo.examples):
            raise HTTPException(404, "no such image")
        return await self._values(lambda: self.demo.example(number))

    async def upload(self, request: Request) -> Response:
        """The drawing of an image file of the user's."""
        content = await request.body()
        return await self._values(lambda: self.demo.drawing.of_file(content, self.demo.size))

    async def static(self, request: Request) -> Response:
        name = request.path_params["name"]
        if name not in STATIC:
            raise HTTPException(404)
        return Response((PAGES / name).read_bytes(), media_type=STATIC[name])

    async def _values(self, read: Callable[[], np.ndarray]) -> Response:
        values = await self._checked(read)
        return Response(values.tobytes(), media_type="application/octet-stream")

    async def _checked(self, action: Callable[[], np.ndarray]) -> np.ndarray:
        try:
            return await run_in_threadpool(action)
        except UserError as error:
            raise HTTPException(422, str(error)) from None


def make_demo(demo: Demo) -> ASGIApp:
    """The ASGI application of a demo."""
    server = Server(demo)
    routes: list[BaseRoute] = [
        Route("/", server.page, methods=["GET"]),
        Route("/translate/{model:int}/{draw:int}", server.translate, methods=["POST"]),
        Route("/examples/{number:int}", server.example, methods=["GET"]),
        Route("/drawing", server.upload, methods=["POST"]),
        Route("/static/{name}", server.static, methods=["GET"]),
    ]
    return web.make_app(routes, MOST_BYTES)
