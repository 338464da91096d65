"""Participants and their answers in SQLite, written as they come.

A commit is on the disk when its answer is acknowledged (synchronous=FULL), so neither a killed
server nor a power failure loses or doubles one.
"""

from __future__ import annotations

import hashlib
import secrets
import sqlite3
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple

from eval.study.design import Study
from pix2pix.common.errors import UserError

if TYPE_CHECKING:
    import pandas

DATABASE = "answers.sqlite"
ACTIVE_SECONDS = 3600.0
"""Without an answer for so long, an unfinished participant no longer counts towards the balance."""
SCHEMA = """\
CREATE TABLE IF NOT EXISTS participants (
  number INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, arm INTEGER NOT NULL,
  began REAL NOT NULL, seen REAL NOT NULL, answered INTEGER NOT NULL DEFAULT 0);
CREATE TABLE IF NOT EXISTS answers (
  participant INTEGER NOT NULL REFERENCES participants, trial INTEGER NOT NULL,
  real TEXT NOT NULL, fake TEXT NOT NULL, real_side TEXT NOT NULL, choice TEXT NOT NULL,
  shown_ms REAL, answer_ms REAL, time REAL NOT NULL, PRIMARY KEY (participant, trial));
CREATE TABLE IF NOT EXISTS sent (
  participant INTEGER NOT NULL REFERENCES participants, trial INTEGER NOT NULL,
  times INTEGER NOT NULL, PRIMARY KEY (participant, trial));
"""
QUERY = """\
SELECT p.id, p.arm, a.participant, a.trial, a.real, a.fake, a.real_side, a.choice, a.shown_ms,
  a.answer_ms, COALESCE(s.times, 1) AS sent, a.time
  FROM answers a JOIN participants p ON p.number = a.participant
  LEFT JOIN sent s ON s.participant = a.participant AND s.trial = a.trial
  ORDER BY a.participant, a.trial"""
Side = Literal["A", "B"]


class Participant(NamedTuple):
    number: int
    id: str
    """Random, known to the participant's browser alone."""
    arm: int
    answered: int
    """How many trials are answered: the position of the current one."""


class Answer(NamedTuple):
    """One click; `choice` is the image that the participant takes for the generated one."""

    participant: int
    trial: int
    choice: Side
    shown_ms: float | None
    answer_ms: float | None


class Sent(NamedTuple):
    """A pair that goes to a participant's browser."""

    participant: int
    trial: int


class Recorded(NamedTuple):
    """What is in the database after an answer, or a pair that was sent, came in."""

    accepted: bool
    """False for a trial that is not the current one and has no answer yet."""
    answered: int
    correct: bool
    """Of the answer that counts, which is the first one to a trial."""


class Answers:
    """The database of a study. Use one object per thread at a time."""

    def __init__(self, folder: Path, study: Study) -> None:
        self.study = study
        self.path = folder / DATABASE
        try:
            self._database = sqlite3.connect(
                self.path, timeout=30, isolation_level=None, check_same_thread=False
            )
            self._database.execute("PRAGMA journal_mode=WAL")
            self._database.execute("PRAGMA synchronous=FULL")
            self._database.executescript(SCHEMA)
        except sqlite3.Error as error:
            raise UserError(f"{self.path}: cannot be used: {error}") from None

    def close(self) -> None:
        self._database.close()

    def begin(self) -> Participant:
        """A new participant, in the arm that has the fewest; equal ones take turns."""
        now = time.time()
        with _Transaction(self._database):
            total, recent = self.study.total, now - ACTIVE_SECONDS
            counts = dict.fromkeys(range(len(self.study.arms)), 0)
            query = (
                "SELECT arm, COUNT(*) FROM participants WHERE answered >= ? OR seen > ?"
                " GROUP BY arm"
            )
            counts |= dict(self._database.execute(query, (total, recent)).fetchall())
            started = self._database.execute("SELECT COUNT(*) FROM participants").fetchone()[0]
            arms = len(counts)
            arm = min(counts, key=lambda a: (counts[a], (a - started) % arms))
            number = started + 1
            name = secrets.token_urlsafe(16)
            row = (number, name, arm, now, now)
            self._database.execute("INSERT INTO participants VALUES (?, ?, ?, ?, ?, 0)", row)
        return Participant(number, name, arm, 0)

    def participant(self, identifier: str) -> Participant | None:
        """The participant with that random id."""
        query = "SELECT number, id, arm, answered FROM participants WHERE id = ?"
        row = self._database.execute(query, (identifier,)).fetchone()
        return Participant(*row) if row else None

    def record(self, batch: Sequence[Answer | Sent]) -> list[Recorded]:
        """Write answers, and which pairs were sent, in one commit. The first answer to a trial
        counts; trials come in order."""
        with _Transaction(self._database):
            return [
                self._answered(one) if isinstance(one, Answer) else self._sent(one) for one in batch
            ]

    def _sent(self, pair: Sent) -> Recorded:
        query = (
            "INSERT INTO sent VALUES (?, ?, 1)"
            " ON CONFLICT (participant, trial) DO UPDATE SET times = times + 1"
        )
        self._database.execute(query, pair)
        return Recorded(True, pair.trial, False)

    def _answered(self, answer: Answer) -> Recorded:
        run, number = self._database.execute, answer.participant
        query = "SELECT answered FROM participants WHERE number = ?"
        (answered,) = run(query, (number,)).fetchone()
        if answer.trial > answered or answer.trial >= self.study.total:
            return Recorded(False, answered, False)
        if answer.trial == answered:
            trial, now = self.study.trials_of(number)[answer.trial], time.time()
            side = "A" if trial.real_is_a else "B"
            names = self.study.names[trial.real], self.study.names[trial.fake]
            times = answer.shown_ms, answer.answer_ms, now
            row = (number, answer.trial, *names, side, answer.choice, *times)
            run("INSERT INTO answers VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", row)
            query = "UPDATE participants SET answered = answered + 1, seen = ? WHERE number = ?"
            run(query, (now, number))
            answered += 1
        query = "SELECT real_side != choice FROM answers WHERE participant = ? AND trial = ?"
        (correct,) = run(query, (number, answer.trial)).fetchone()
        return Recorded(True, answered, bool(correct))

    def progress(self) -> dict[str, dict[str, int]]:
        """{arm: how many participants started and finished, and their answers}"""
        query = (
            "SELECT COUNT(*), COALESCE(SUM(answered >= ?), 0), COALESCE(SUM(answered), 0)"
            " FROM participants WHERE arm = ?"
        )
        found = {}
        for position, arm in enumerate(self.study.arms):
            row = self._database.execute(query, (self.study.total, position)).fetchone()
            found[arm] = dict(zip(("started", "finished", "answers"), row, strict=True))
        return found

    def table(self) -> pandas.DataFrame:
        """One row per answer: participant, code, arm, trial, practice, real, fake, real_side,
        choice, fooled, shown_ms, answer_ms, sent (how often the pair was), time (Unix seconds)."""
        import pandas as pd  # here, as the server starts sooner without it

        frame = pd.read_sql_query(QUERY, self._database)
        frame["code"] = [completion_code(name) for name in frame.pop("id")]
        frame["arm"] = [self.study.arms[arm] for arm in frame.arm]
        frame["practice"] = frame.trial < self.study.practice
        frame["fooled"] = frame.real_side == frame.choice
        columns = ["participant", "code", "arm", "trial", "practice", "real", "fake", "real_side"]
        return frame[[*columns, "choice", "fooled", "shown_ms", "answer_ms", "sent", "time"]]


def completion_code(identifier: str) -> str:
    """What a finished participant may show as proof; it does not reveal the random id."""
    return hashlib.sha256(f"code {identifier}".encode()).hexdigest()[:8]


class _Transaction:
    """BEGIN IMMEDIATE to COMMIT, or ROLLBACK after an error."""

    def __init__(self, database: sqlite3.Connection) -> None:
        self._database = database

    def __enter__(self) -> None:
        self._database.execute("BEGIN IMMEDIATE")

    def __exit__(self, kind: object, *_: object) -> None:
        self._database.execute("ROLLBACK" if kind else "COMMIT")
