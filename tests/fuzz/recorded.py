"""What run directories and data roots record, as JSON, and JSON's own traps."""

from __future__ import annotations

import json
from typing import Any

from documents import spoiled
from hypothesis import strategies as st
from mutations import mutated

DEEP = b"[" * 100_000 + b"]" * 100_000
JSON_TRAPS = (
    DEEP,
    b'{"a":' * 100_000,
    b"9" * 5000,
    b"NaN",
    b"-Infinity",
    b'{"a": 1e999}',
    b'"\\ud800"',
    b"\xff\xfe",
    b"",
    b"null",
    b"[]",
    b'{"a": 1, "a": 2}',
)


def json_files(document: Any) -> st.SearchStrategy[bytes]:
    """A JSON record with wrong values, wrong bytes, and JSON's own traps."""
    whole = json.dumps(document, indent=1).encode()
    return st.one_of(
        spoiled(st.just(document)).map(lambda one: json.dumps(one).encode()),
        mutated([whole]),
        mutated(JSON_TRAPS, most=1),
    )


JOURNAL = [
    {"event": "start", "time": 1.5, "provenance": {"commit": "abc"}, "step": 0},
    {"event": "data", "time": 1.6, "fingerprint": "f", "train": 4, "val": 2, "test": 2},
    {"event": "parameters", "time": 1.7, "generator": 5, "discriminator": 0},
    {"event": "losses", "time": 2, "step": 10, "values": {"l1": 0.5}, "seconds_per_step": 0.1},
    {"event": "sample", "time": 2, "step": 10, "file": "samples/step-10.png"},
    {"event": "checkpoint", "time": 2, "step": 10},
    {"event": "start", "time": 3, "provenance": {}, "step": 10},
    {"event": "trained", "time": 4, "step": 20, "seconds": 2.0},
    {"event": "scores", "time": 5, "values": {"pixel.l1": 0.1}, "not_measured": {}},
    {"event": "failed", "time": 5, "error": "e", "log": ""},
    {"event": "done", "time": 6, "seconds": 5.0},
]


def journals() -> st.SearchStrategy[bytes]:
    """Journals with torn lines, wrong values, lines in any order."""
    lines = st.lists(spoiled(st.sampled_from(JOURNAL), most=2), max_size=8)
    whole = b"".join(json.dumps(record).encode() + b"\n" for record in JOURNAL)
    return st.one_of(
        lines.map(lambda many: b"".join(json.dumps(one).encode() + b"\n" for one in many)),
        mutated([whole]),
        st.tuples(mutated([whole]), st.sampled_from(JSON_TRAPS)).map(b"\n".join),
    )


JOB = {
    "title": "L1 seed 1",
    "out": "runs",
    "data": {"name": "procedural", "registry": None, "root": "data", "cache": "runs/cache"},
    "config": {
        "dataset": "procedural",
        "fingerprint": "f",
        "direction": "labels->photo",
        "size": [32, 32],
        "scorer": None,
        "protocol": 2,
    },
    "reference": "0123456789abcdef",
    "scorer": {"width": 2, "batches": 2, "batch": 2, "validate_every": 1, "patience": 1},
    "device": "cpu",
    "threads": 1,
    "checkpoint_seconds": 60.0,
    "commit": "abc",
}
SUITE_RECORD = {
    "suite": "losses",
    "title": "Losses",
    "question": "?",
    "dataset": "procedural",
    "variant": "smoke",
    "direction": "labels->photo",
    "overrides": {},
    "commit": "abc",
    "fingerprint": "f",
    "size": [64, 64],
    "steps": 10,
    "epochs": None,
    "arms": [{"name": "L1", "changes": {"objective.gan": "none"}, "identity": "0123"}],
    "cells": [{"arm": "L1", "seed": 1, "digest": "0123456789abcdef"}],
    "reference": "fedc",
    "scores": ["pixel"],
    "published": {"source": "s", "rows": {"L1": {"pixel.l1": 0.1}}},
    "claims": [],
    "deviations": [],
}
SCORES = {
    "values": {"pixel.l1": 0.1},
    "not_measured": {"lpips": "why"},
    "settings": {"reference": "fedc", "lpips_backbone_on_disk": True},
}
PINS = {
    "mine": {
        "url": "https://localhost/mine.tar.gz",
        "bytes": 10,
        "sha256": "0" * 64,
        "files": 3,
        "content": "0" * 64,
        "pinned": "2026-01-01T00:00:00+00:00",
    }
}
