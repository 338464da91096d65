"""What a run directory, a data root or a stranger's disk may hold: weights, records, caches."""

from __future__ import annotations

import functools
import io
import json
import pickle
import pickletools
import struct
import zipfile
from pathlib import Path
from typing import Any

import torch
from documents import odd, spoiled
from hypothesis import strategies as st
from mutations import mutated
from safetensors.torch import save

CANARY = "fuzz-was-here"
"""The file that every payload would make in the working folder, if it ran."""


class _Payload:
    """Pickles to a call."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.call = (function, arguments)

    def __reduce__(self) -> tuple[Any, tuple[Any, ...]]:
        return self.call


def _named(module: str, name: str, argument: str) -> bytes:
    """A pickle that calls module.name(argument), also where no such object can be pickled."""
    text = argument.encode()
    return (
        b"\x80\x02c" + f"{module}\n{name}\n".encode() + b"X" + struct.pack("<I", len(text))
        + text + b"\x85R."
    )  # fmt: skip


@functools.cache
def payloads() -> tuple[bytes, ...]:
    """Pickles whose loading would make CANARY."""
    command, code = f"touch {CANARY}", f"open({CANARY!r}, 'w').close()"
    calls = [
        ("os", "system", command),
        ("posix", "system", command),
        ("subprocess", "getoutput", command),
        ("builtins", "exec", code),
        ("builtins", "eval", code),
        ("__builtin__", "eval", code),
        ("torch", "load", CANARY),
        ("torch.hub", "load_state_dict_from_url", "https://localhost/x"),
        ("torch._inductor.codecache", "write", code),
        ("timeit", "timeit", code),
        ("code", "interact", code),
        ("runpy", "run_path", CANARY),
        ("numpy.testing._private.utils", "runstring", code),
        ("torch.jit.unsupported_tensor_ops", "execWrapper", code),
        ("torch.serialization", "load", CANARY),
    ]
    built = [
        pickle.dumps({"format": 1, "kind": "generator", "weights": _Payload(exec, code)}),
        pickle.dumps(_Payload(getattr, Path(CANARY), "touch"), 4),
        pickle.dumps(_Payload(eval, code), 0),
    ]
    return (*(_named(*call) for call in calls), *built)


def archived(pickled: bytes, *, compression: int = zipfile.ZIP_STORED, extra: bytes = b"") -> bytes:
    """A file such as torch.save writes, around any pickle."""
    raw = io.BytesIO()
    with zipfile.ZipFile(raw, "w", compression) as archive:
        archive.writestr("archive/data.pkl", pickled)
        archive.writestr("archive/version", "3\n")
        archive.writestr("archive/byteorder", "little")
        if extra:
            archive.writestr("archive/data/0", extra)
    return raw.getvalue()


def _pickle_of(saved: bytes) -> bytes:
    with zipfile.ZipFile(io.BytesIO(saved)) as archive:
        return next(archive.read(n) for n in archive.namelist() if n.endswith("data.pkl"))


def _saved(content: Any, **options: Any) -> bytes:
    file = io.BytesIO()
    torch.save(content, file, **options)
    return file.getvalue()


@functools.cache
def generator_file(folder: Path) -> bytes:
    """A small generator as a training saves it."""
    from pix2pix.checkpoint import build_generator, save_generator
    from pix2pix.config import GeneratorSettings

    settings = GeneratorSettings(width=1, depth=2)
    network = build_generator(settings, (3, 3), (16, 16))
    path = folder / "generator.pt"
    save_generator(path, network, settings, channels=(3, 3), size=(16, 16), origin={"seed": 1})
    return path.read_bytes()


HUGE = 10**10


def _bombs() -> list[bytes]:
    """Small files that claim large tensors."""
    view = torch.zeros(1).expand(HUGE)
    weights = {"format": 1, "kind": "generator", "weights": {"a": view}}
    settings = {"width": HUGE, "depth": 10}
    return [
        _saved(weights),
        _saved({**weights, "settings": settings, "channels": [3, 3], "size": [1024, 1024]}),
        _saved({**weights, "settings": {}, "channels": [HUGE, HUGE], "size": [256, 256]}),
        archived(_pickle_of(_saved({"a": torch.zeros(4)})), extra=bytes(16)),
        archived(
            _pickle_of(_saved({"a": torch.zeros(1 << 26)})).replace(b"x", b"x"),
            compression=zipfile.ZIP_DEFLATED,
            extra=bytes(1 << 28),
        ),
    ]


@st.composite
def _edited_pickle(draw: st.DrawFn, original: bytes) -> bytes:
    """A pickle with one argument of an opcode exchanged or an opcode taken out."""
    operations = list(pickletools.genops(original))
    places = [place for _, _, place in operations if place is not None]
    index = draw(st.integers(0, len(places) - 1))
    start = places[index]
    end = places[index + 1] if index + 1 < len(places) else len(original)
    other = draw(st.integers(0, len(places) - 1))
    there = places[other]
    piece = original[there : places[other + 1] if other + 1 < len(places) else len(original)]
    return original[:start] + draw(st.sampled_from([b"", piece])) + original[end:]


def checkpoint_files(folder: Path) -> st.SearchStrategy[bytes]:
    """Checkpoints with wrong bytes, wrong values, huge claims, and code in them."""
    whole = generator_file(folder)
    content = torch.load(io.BytesIO(whole), weights_only=True)
    legacy = _saved(content, _use_new_zipfile_serialization=False)
    plain = {key: value for key, value in content.items() if key != "weights"}
    documents = spoiled(st.just(plain)).map(
        lambda edited: (
            _saved({**edited, "weights": content["weights"]})
            if isinstance(edited, dict)
            else _saved(edited)
        )
    )
    weights = st.fixed_dictionaries(
        {}, optional={name: st.just(torch.zeros(2)) for name in list(content["weights"])[:4]}
    ).map(lambda some: _saved({**content, "weights": {**content["weights"], **some}}))
    malicious = st.sampled_from(payloads())
    return st.one_of(
        mutated([whole, legacy]),
        _edited_pickle(_pickle_of(whole)).map(archived),
        documents,
        weights,
        malicious.map(archived),
        malicious,
        mutated(payloads(), most=1).map(archived),
        st.sampled_from(_bombs()),
    )


@functools.cache
def port_weights() -> dict[str, torch.Tensor]:
    """The weights of a small U-Net by the PyTorch port's names."""
    from pix2pix.generator_files import port_layout
    from pix2pix.networks import PortUNetGenerator

    ours = PortUNetGenerator(3, 3, 1, 5, 0.5).state_dict()
    return {theirs: ours[name].clone() for name, theirs in port_layout(5).items()}


def weight_files(_: Path) -> st.SearchStrategy[bytes]:
    """Other people's weights: prefixes, dictionaries and safetensors, whole and damaged."""
    state = port_weights()
    prefixes = ("", "module.", "_orig_mod.", "netG.", "netD.model.", ".", "a\nb.")

    def under(words: list[str]) -> dict[str, torch.Tensor]:
        return {"".join(words) + name: tensor for name, tensor in state.items()}

    named = st.lists(st.sampled_from(prefixes), max_size=3).map(under)
    keys = st.sampled_from(("state_dict", "model", "netG", "ema", "format", 0, None, ("a", 1)))
    nested = st.recursive(
        named, lambda inner: st.dictionaries(keys, st.one_of(inner, odd), max_size=3), max_leaves=4
    )
    packed = save(under(["_orig_mod."]))
    length = struct.unpack("<Q", packed[:8])[0]
    header, body = json.loads(packed[8 : 8 + length]), packed[8 + length :]

    def repacked(document: Any) -> bytes:
        text = json.dumps(document).encode()
        return struct.pack("<Q", len(text)) + text + body

    return st.one_of(
        nested.map(_saved),
        named.map(save),
        mutated([packed, save(state)]),
        spoiled(st.just(header)).map(repacked),
    )


@functools.cache
def scorer_file(folder: Path) -> bytes:
    from eval.scorer.fcn8s import FCN8s
    from eval.scorer.file import save_scorer
    from eval.scorer.train import ScorerSettings

    path = folder / "scorer.safetensors"
    model = FCN8s(2, width=1, batch_norm=True, padding="same")
    save_scorer(path, model, ScorerSettings(), ["a", "b"], {"dataset": "fuzz"})
    return path.read_bytes()


def scorer_files(folder: Path) -> st.SearchStrategy[bytes]:
    """Scorers with wrong bytes, and with a header that says something else."""
    whole = scorer_file(folder)
    length = struct.unpack("<Q", whole[:8])[0]
    header, body = json.loads(whole[8 : 8 + length]), whole[8 + length :]
    told = json.loads(header["__metadata__"]["scorer"])

    def packed(document: Any) -> bytes:
        text = json.dumps(document).encode()
        return struct.pack("<Q", len(text)) + text + body

    def retold(document: Any) -> bytes:
        return packed({**header, "__metadata__": {"scorer": json.dumps(document)}})

    network = st.fixed_dictionaries(
        {
            "classes": st.one_of(st.sampled_from([2, 1, HUGE, 255]), odd),
            "width": st.one_of(st.sampled_from([1, 2, 400, HUGE]), odd),
            "batch_norm": st.one_of(st.booleans(), odd),
            "padding": st.one_of(st.sampled_from(["same", "published"]), odd),
        }
    )
    return st.one_of(
        mutated([whole]),
        spoiled(st.just(told)).map(retold),
        network.map(lambda one: retold({**told, "network": one})),
        spoiled(st.just(header)).map(packed),
    )
