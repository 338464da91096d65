"""The study as a web server (Starlette): consent, trials, the admin page."""

from __future__ import annotations

import asyncio
import os
import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, NamedTuple

from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response
from starlette.routing import BaseRoute, Route
from starlette.types import ASGIApp

from eval.study.answers import (
    Answer,
    Answers,
    Participant,
    Recorded,
    Sent,
    Side,
    completion_code,
)
from eval.study.design import SHOWN_MS, Study
from eval.study.images import Images
from pix2pix.common import web

COOKIE = "participant"
COOKIE_SECONDS = 60 * 60 * 24 * 60
MOST_BYTES = 2000
"""Of a request's body."""
PAGES = Path(__file__).parent / "pages"
STATIC = {"study.css": "text/css", "trial.js": "text/javascript"}
Milliseconds = Annotated[float, Field(ge=0, le=1e9, allow_inf_nan=False)]


class Posted(BaseModel):
    """The body of an answer."""

    model_config = ConfigDict(extra="forbid", strict=True)

    trial: Annotated[int, Field(ge=0, le=10_000)]
    choice: Side
    shown_ms: Milliseconds | None
    answer_ms: Milliseconds | None


class Waiting(NamedTuple):
    item: Answer | Sent
    recorded: asyncio.Future[Recorded]


class GroupCommit:
    """Writes all that waits in one commit, so that many participants share a disk flush."""

    def __init__(self, answers: Answers) -> None:
        self._answers = answers
        self._waiting: list[Waiting] = []
        self._lock = asyncio.Lock()

    async def begin(self) -> Participant:
        async with self._lock:
            return await run_in_threadpool(self._answers.begin)

    async def record(self, item: Answer | Sent) -> Recorded:
        """Returns when it is on the disk."""
        mine = Waiting(item, asyncio.get_running_loop().create_future())
        self._waiting.append(mine)
        async with self._lock:
            if not mine.recorded.done():
                batch, self._waiting = self._waiting, []
                await self._commit(batch)
        return mine.recorded.result()

    async def _commit(self, batch: list[Waiting]) -> None:
        try:
            found = await run_in_threadpool(self._answers.record, [one.item for one in batch])
        except Exception as error:
            for one in batch:
                one.recorded.set_exception(error)
            return
        for one, recorded in zip(batch, found, strict=True):
            one.recorded.set_result(recorded)


@dataclass(frozen=True)
class Server:
    """The endpoints, over one study folder."""

    study: Study
    images: Images
    reader: Answers
    writer: GroupCommit
    token: str
    """Of the admin page."""
    encoding: asyncio.Semaphore
    """As many pairs at a time as there are cores, so that answers never wait behind many."""

    async def consent(self, request: Request) -> Response:
        """The first page; a participant who comes back goes on where they stopped."""
        if self._participant(request):
            return RedirectResponse("trials", 303)
        paragraphs = [text for text in self.study.consent.split("\n\n") if text.strip()]
        return _page("consent.html.j2", title=self.study.title, paragraphs=paragraphs)

    async def begin(self, request: Request) -> Response:
        """After consent: a new participant, unless this browser has one already."""
        response = RedirectResponse("trials", 303)
        if self._participant(request) is None:
            participant = await self.writer.begin()
            response.set_cookie(
                COOKIE,
                participant.id,
                max_age=COOKIE_SECONDS,
                httponly=True,
                samesite="lax",
                secure=request.url.scheme == "https",
            )
        return response

    async def trials(self, request: Request) -> Response:
        if self._participant(request) is None:
            return RedirectResponse(".", 303)
        height, width = self.study.size
        return _page(
            "trials.html.j2",
            title=self.study.title,
            practice=self.study.practice,
            total=self.study.total,
            height=height,
            width=width,
            shown_ms=SHOWN_MS,
        )

    async def state(self, request: Request) -> Response:
        participant = self._known(request)
        return JSONResponse(self._state(participant, participant.answered))

    async def pair(self, request: Request) -> Response:
        """The images of the current trial, and of no other one; that they were sent is recorded."""
        participant = self._known(request)
        trial = request.path_params["trial"]
        if trial != participant.answered or trial >= self.study.total:
            raise HTTPException(409, "not the current trial")
        number, arm = participant.number, participant.arm
        await self.writer.record(Sent(number, trial))
        async with self.encoding:
            content = await run_in_threadpool(self.images.pair, number, arm, self.study, trial)
        return Response(content, media_type="image/webp")

    async def answer(self, request: Request) -> Response:
        """Record an answer; sent again, it changes nothing. Only practice trials are judged."""
        participant = self._known(request)
        if request.headers.get("content-type", "").partition(";")[0] != "application/json":
            raise HTTPException(415, "the body must be application/json")
        try:
            posted = Posted.model_validate_json(await request.body())
        except ValidationError:
            raise HTTPException(422, "not an answer") from None
        answer = Answer(participant.number, *posted.model_dump().values())
        recorded = await self.writer.record(answer)
        if not recorded.accepted:
            raise HTTPException(409, "not the current trial")
        state = self._state(participant, recorded.answered)
        if posted.trial < self.study.practice:
            state["correct"] = recorded.correct
        return JSONResponse(state)

    async def admin(self, request: Request) -> Response:
        self._check_token(request)
        progress = await run_in_threadpool(self.reader.progress)
        return _page(
            "admin.html.j2", title=self.study.title, progress=progress, study=self.study,
            token=self.token,
        )  # fmt: skip

    async def export(self, request: Request) -> Response:
        """Every answer as CSV."""
        self._check_token(request)
        table = await run_in_threadpool(self.reader.table)
        content = table.to_csv(index=False, lineterminator="\n")
        attached = {"Content-Disposition": 'attachment; filename="answers.csv"'}
        return Response(content, media_type="text/csv", headers=attached)

    async def static(self, request: Request) -> Response:
        name = request.path_params["name"]
        if name not in STATIC:
            raise HTTPException(404)
        return Response((PAGES / name).read_bytes(), media_type=STATIC[name])

    def _state(self, participant: Participant, answered: int) -> dict[str, Any]:
        done = answered >= self.study.total
        code = {"code": completion_code(participant.id)} if done else {}
        return {"trial": answered, "done": done, **code}

    def _participant(self, request: Request) -> Participant | None:
        identifier = request.cookies.get(COOKIE)
        return self.reader.participant(identifier) if identifier else None

    def _known(self, request: Request) -> Participant:
        participant = self._participant(request)
        if participant is None:
            raise HTTPException(401, "no participant; open the first page")
        return participant

    def _check_token(self, request: Request) -> None:
        given = request.query_params.get("token", "").encode("utf-8", "surrogatepass")
        if not secrets.compare_digest(given, self.token.encode()):
            raise HTTPException(403, "the token is wrong; serve prints the right one")


def make_app(study: Study, images: Images, reader: Answers, writer: Answers, token: str) -> ASGIApp:
    """The ASGI application of a study; `reader` and `writer` are two connections."""
    encoding = asyncio.Semaphore(os.cpu_count() or 1)
    server = Server(study, images, reader, GroupCommit(writer), token, encoding)
    get, post = ["GET"], ["POST"]
    routes: list[BaseRoute] = [
        Route("/", server.consent, methods=get),
        Route("/begin", server.begin, methods=post),
        Route("/trials", server.trials, methods=get),
        Route("/state", server.state, methods=get),
        Route("/pair/{trial:int}", server.pair, methods=get),
        Route("/answer", server.answer, methods=post),
        Route("/admin", server.admin, methods=get),
        Route("/admin/answers.csv", server.export, methods=get),
        Route("/static/{name}", server.static, methods=get),
    ]
    return web.make_app(routes, MOST_BYTES)


_TEMPLATES = Environment(
    loader=PackageLoader("eval.study", "pages"),
    autoescape=select_autoescape(["html", "j2"]),
    undefined=StrictUndefined,
    trim_blocks=True,
)


def _page(template: str, **context: Any) -> HTMLResponse:
    return HTMLResponse(_TEMPLATES.get_template(template).render(**context))
