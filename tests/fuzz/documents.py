"""Nearly valid YAML and JSON: documents of the right shape with a few wrong things in them."""

from __future__ import annotations

import copy
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml
from hypothesis import strategies as st

from eval.metrics import METRICS
from experiments.spec import SETTINGS

NAMES = st.sampled_from(
    ["L1", "70x70", "a b", "U-Net (L1)", "1", "=1+1", "<script>", "\\input{x}", "x" * 61, "é", "²"]
)
BREAKING = ["\x1b[31m", "\u202etxt", "\ud800", "\x00", "a\nb", "\u2028", "-", "../..", "CON", ""]
NUMBERS = [0, -1, 1, 70, 256, 2**31, 10**30, 1e308, float("inf"), float("nan"), -0.0, 1e-320]
ODD: list[Any] = [None, True, [], {}, [[[]]], [None], {"a": {"b": []}}, *BREAKING, *NUMBERS]
odd = st.one_of(
    st.sampled_from(ODD).map(copy.deepcopy), st.text(max_size=12), st.integers(), st.floats()
)

VALUES = st.one_of(
    st.sampled_from([1, 16, 70, 286, 0.0, 100.0, 2e-4, True, "none", "conditional", "unet"]), odd
)
SETTING_KEYS = st.sampled_from([*SETTINGS, "generator", "training.step", "size"])
VALID_SETTINGS = st.fixed_dictionaries(
    {},
    optional={
        "discriminator.patch": st.sampled_from([1, 16, 70]),
        "objective.gan": st.sampled_from(["none", "conditional"]),
        "objective.l1": st.floats(0, 1e6),
        "training.steps": st.integers(1, 10**6),
        "generator.width": st.integers(1, 64),
    },
)
settings_blocks = st.one_of(
    VALID_SETTINGS, VALID_SETTINGS, st.dictionaries(SETTING_KEYS, VALUES, max_size=2)
)

SYNTAX = (
    "a: &a [*a]",
    "{" * 500,
    "[" * 5000,
    "a: !!python/object/apply:os.system ['touch fuzz-was-here']",
    "!!python/object/new:subprocess.Popen [[touch, fuzz-was-here]]",
    "a: !!int x",
    "a: !!timestamp x",
    "a: !!binary x",
    "a: !!set {a, b}",
    'a: "\\U00110000"',
    'a: "\\ud800"',
    f"arms: {'9' * 5000}",
    f"arms: 0x{'f' * 5000}",
    "a0: &a0 [x,x,x,x,x,x,x,x,x]\n"
    + "\n".join(f"a{i}: &a{i} [{','.join([f'*a{i - 1}'] * 9)}]" for i in range(1, 12)),
    "? - a",
    "<<: *nothing",
    "--- a\n--- b",
    "%YAML 9.9\n---\na",
    "\t- a",
    "- " * 3000,
)


def _paths(document: Any, here: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    keys: list[Any] = []
    if isinstance(document, dict):
        keys = list(document)
    elif isinstance(document, list):
        keys = list(range(len(document)))
    return [here, *(path for key in keys for path in _paths(document[key], (*here, key)))]


@st.composite
def spoiled(draw: st.DrawFn, documents: st.SearchStrategy[Any], most: int = 3) -> Any:
    """A document in which up to `most` values are replaced, taken out, doubled or renamed."""
    document = copy.deepcopy(draw(documents))
    for _ in range(draw(st.integers(0, most))):
        path = draw(st.sampled_from(_paths(document)))
        if not path:
            if draw(st.integers(0, 9)) == 0:
                return draw(odd)
            continue
        parent = document
        for step in path[:-1]:
            parent = parent[step]
        what = draw(st.sampled_from(("replace", "replace", "remove", "rename", "add")))
        if what == "remove":
            del parent[path[-1]]
        elif what == "replace" or isinstance(parent, list):
            parent[path[-1]] = draw(odd)
        elif what == "rename":
            parent[str(draw(odd))] = parent.pop(path[-1])
        else:
            parent[draw(st.text(max_size=8))] = draw(odd)
    return document


def as_yaml(document: Any) -> bytes:
    try:
        text = yaml.dump(document, Dumper=yaml.CSafeDumper, allow_unicode=True, sort_keys=False)
    except UnicodeEncodeError:  # lone surrogates, which JSON writes as escapes
        return as_json(document)
    return text.encode()


def as_json(document: Any) -> bytes:
    return json.dumps(document).encode()


def yaml_files(
    documents: st.SearchStrategy[Any], shipped: Sequence[bytes]
) -> st.SearchStrategy[bytes]:
    """Documents with wrong values, shipped files with wrong bytes, and YAML's own traps."""
    from mutations import mutated

    traps = [trap.encode() for trap in SYNTAX]
    return st.one_of(
        spoiled(documents).map(as_yaml),
        spoiled(documents).map(as_json),
        mutated(shipped),
        mutated(traps, most=2),
        st.tuples(mutated(shipped), st.sampled_from(traps)).map(b"\n".join),
    )


@st.composite
def suites(draw: st.DrawFn) -> dict[str, Any]:
    """A suite as its author would write it; valid where every draw happens to be."""
    arms = draw(st.dictionaries(NAMES, settings_blocks, min_size=1, max_size=3))
    known = st.sampled_from([*arms, "ground truth"])
    scores = st.sampled_from(list(METRICS))
    columns = draw(st.lists(scores, max_size=3))
    number = st.floats(0, 1)
    numbers = st.lists(number, min_size=len(columns), max_size=len(columns))
    claims = st.builds("{} {} {} on {}".format, known, st.sampled_from("<>"), known, scores)
    document: dict[str, Any] = {
        "title": draw(st.text(max_size=8)),
        "question": "Which?",
        "direction": draw(st.sampled_from(["labels->photo", "photo->labels", None])),
        "base": draw(settings_blocks),
        "arms": arms,
        "profiles": draw(
            st.dictionaries(st.sampled_from(["smoke", "quick"]), settings_blocks, max_size=2)
        ),
        "scores": draw(st.lists(st.sampled_from(["fcn", "lpips", "color"]), max_size=4)),
        "published": {
            "source": "Isola et al.",
            "columns": columns,
            "rows": draw(st.dictionaries(known, numbers, max_size=2)),
        },
        "claims": draw(st.lists(claims, max_size=2)),
    }
    kept = draw(st.sets(st.sampled_from(sorted(document))))
    return {key: value for key, value in document.items() if key in kept | {"title", "arms"}}


def shipped_entries(path: Path) -> list[dict[str, Any]]:
    """The registry's own entries, each alone and under a name that is free."""
    registry = yaml.load(path.read_text(encoding="utf-8"), yaml.CSafeLoader)
    return [{f"my-{name}": entry} for name, entry in registry.items()]


@st.composite
def registries(draw: st.DrawFn) -> dict[str, Any]:
    """Data sets as a registry's author would write them."""
    byte = st.one_of(st.integers(0, 255), st.sampled_from([-1, 256, 1.5, None]))
    colour = st.lists(byte, min_size=3, max_size=3)
    classes = st.dictionaries(
        NAMES,
        st.one_of(colour, st.fixed_dictionaries({"colour": colour, "index": byte})),
        max_size=4,
    )
    side = st.fixed_dictionaries(
        {},
        optional={
            "kind": st.sampled_from(["photo", "index", "palette", "edges"]),
            "half": st.sampled_from(["left", "right", "top"]),
            "folder": st.sampled_from(["A/{split}", "B", "/etc", "../up", "{x}", ""]),
            "ending": st.sampled_from(["_a.png", ".png", ""]),
            "grey": st.booleans(),
            "tolerance": st.integers(-1, 500),
        },
    )
    entry = st.fixed_dictionaries(
        {
            "layout": st.sampled_from(["side-by-side", "folders", "cityscapes", "procedural"]),
            "sides": st.dictionaries(
                st.sampled_from(["photo", "labels", "a", "../b"]), side, min_size=1, max_size=3
            ),
        },
        optional={
            "title": st.text(max_size=10),
            "path": st.sampled_from(["mine", "..", "/abs", "a/b"]),
            "direction": st.sampled_from(["labels->photo", "photo", "a->a"]),
            "classes": classes,
            "ignore": st.one_of(st.just("rest"), st.lists(st.one_of(byte, colour), max_size=3)),
            "splits": st.dictionaries(
                st.sampled_from(["train", "val", "test", "dev"]),
                st.sampled_from(["train", "../x", "", "/x"]),
            ),
            "archive": st.fixed_dictionaries(
                {"url": st.sampled_from(["https://x/a", "file:///etc/passwd", "http://[", "x"])},
                optional={"bytes": st.integers(), "sha256": st.sampled_from(["0" * 64, "0" * 63])},
            ),
            "paper": st.dictionaries(
                st.sampled_from(["epochs", "batch", "jitter", "unconfirmed"]), odd
            ),
        },
    )
    return draw(st.dictionaries(NAMES, entry, min_size=1, max_size=2))


profiles = st.dictionaries(
    st.sampled_from(["smoke", "quick", "mine"]),
    st.fixed_dictionaries(
        {
            "size": st.sampled_from([64, [64, 128], 8, [1], "64x64"]),
            "seeds": st.lists(st.one_of(st.integers(0, 9), odd), max_size=3),
            "settings": settings_blocks,
            "scorer": st.fixed_dictionaries(
                {"width": VALUES, "batches": st.just(9), "batch": VALUES}
            ),
        },
        optional={"paper_schedule": odd},
    ),
    min_size=1,
    max_size=2,
)

overrides = st.one_of(
    st.builds("{}={}".format, SETTING_KEYS, VALUES),
    st.builds("{}={}".format, SETTING_KEYS, st.sampled_from(SYNTAX)),
    st.text(max_size=20),
)
