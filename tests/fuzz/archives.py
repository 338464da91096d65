"""Archives as a stranger might pack them."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import tarfile
import zipfile

from hypothesis import strategies as st
from mutations import mutated

NAMES = st.one_of(
    st.sampled_from(
        [
            "any/train/1.png",
            "train/1.png",
            "val/1.png",
            "/etc/evil",
            "../evil",
            "a/../../evil",
            "..\\evil",
            "a\\b",
            "",
            ".",
            "..",
            "./x",
            "//x",
            "a//b",
            "a/./b",
            "C:evil",
            "C:\\evil",
            "x" * 300,
            "y/" * 200 + "z",
            "a",
            "a/b",
            "A",
            "-rf",
            "\x1b[31m.png",
            "\udce4.png",
            "nl\n.png",
            ".mine.unpacking",
        ]
    ),
    st.text(st.characters(codec="utf-8"), max_size=8),
)
KINDS = st.sampled_from(
    [tarfile.REGTYPE] * 8
    + [
        tarfile.AREGTYPE,
        tarfile.DIRTYPE,
        tarfile.SYMTYPE,
        tarfile.LNKTYPE,
        tarfile.CHRTYPE,
        tarfile.BLKTYPE,
        tarfile.FIFOTYPE,
        tarfile.CONTTYPE,
        tarfile.GNUTYPE_SPARSE,
        tarfile.XHDTYPE,
        tarfile.GNUTYPE_LONGNAME,
        b"Z",
    ]
)
SIZES = st.sampled_from([0, 1, 3, 3, 3, 511, 512, 513, 10**9, 10**12, 2**63, 2**70])
PACKERS = {"plain": bytes, "gzip": gzip.compress, "bzip2": bz2.compress, "xz": lzma.compress}


@st.composite
def tars(draw: st.DrawFn) -> bytes:
    """A tar whose members have any name, kind, mode and declared size."""
    raw = io.BytesIO()
    form = draw(st.sampled_from([tarfile.PAX_FORMAT, tarfile.GNU_FORMAT]))
    for _ in range(draw(st.integers(0, 5))):
        member = tarfile.TarInfo(draw(NAMES))
        member.type = draw(KINDS)
        member.mode = draw(st.sampled_from([0o644, 0o4777, 0, 0o7777]))
        member.uid = draw(st.sampled_from([0, 1000, 2**40]))
        member.mtime = draw(st.sampled_from([0, -1, 2**40, 1.5]))
        member.linkname = draw(NAMES)
        if form == tarfile.PAX_FORMAT and draw(st.integers(0, 4)) == 0:
            member.pax_headers = {
                draw(
                    st.sampled_from(["path", "size", "GNU.sparse.map", "comment", "hdrcharset"])
                ): (draw(st.sampled_from(["../x", "-1", "9" * 400, "1,2,3", "/evil", "BINARY"])))
            }
        member.size = draw(SIZES)
        try:
            raw.write(member.tobuf(form, "utf-8", "surrogateescape"))
        except (ValueError, OverflowError):
            continue
        held = draw(st.sampled_from([member.size, 0, 3])) if member.size < 4096 else 3
        raw.write(b"a" * held + bytes(-held % 512))
    raw.write(bytes(draw(st.sampled_from([1024, 512, 0]))))
    return PACKERS[draw(st.sampled_from(sorted(PACKERS)))](raw.getvalue())


def _zip() -> bytes:
    raw = io.BytesIO()
    with zipfile.ZipFile(raw, "w") as archive:
        archive.writestr("../evil", "x")
    return raw.getvalue()


def _plain() -> list[bytes]:
    packed = []
    for form in (tarfile.PAX_FORMAT, tarfile.GNU_FORMAT):
        raw = io.BytesIO()
        with tarfile.open(fileobj=raw, mode="w", format=form) as tar:
            for name in ("any/train/1.png", "any/val/" + "n" * 150 + ".png", "any/test/ä.png"):
                member = tarfile.TarInfo(name)
                member.size = 3
                tar.addfile(member, io.BytesIO(b"abc"))
        packed.append(raw.getvalue())
    return packed


def _nested() -> list[bytes]:
    """Headers that announce a header, without end, at the start and behind a file."""
    packed = []
    for kind in (tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK, tarfile.XHDTYPE):
        header = tarfile.TarInfo("long")
        header.type = kind
        for before in (b"", tarfile.TarInfo("x").tobuf()):
            packed.append(gzip.compress(before + header.tobuf() * 3000 + bytes(1024)))
    return packed


def archive_files() -> st.SearchStrategy[bytes]:
    whole = _plain()
    packed = [pack(one) for one in whole for pack in PACKERS.values()]
    return st.one_of(
        tars(),
        tars(),
        mutated([*packed, _zip()]),
        mutated(whole).map(gzip.compress),
        st.sampled_from(_nested()),
    )
