import io
import sys

from pix2pix.common.errors import UserError, mend_process


def test_no_name_steers_the_terminal():
    message = str(UserError("a\x1b[2J.png: \x00 \u202egnp.exe \ud800 \x9b é → ±"))
    assert message == r"a\x1b[2J.png: \x00 \u202egnp.exe \ud800 \x9b é → ±"
    assert str(UserError("one\ntwo")) == "one\ntwo"


def test_no_stdout_is_too_poor_to_print_on(monkeypatch):
    poor = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(poor, encoding="ascii"))
    monkeypatch.setattr(sys, "stderr", None)  # closed
    mend_process()
    print("96×96", flush=True)
    print("for nobody", file=sys.stderr, flush=True)
    assert poor.getvalue() == b"96?96\n"
    monkeypatch.setattr(sys, "stdout", io.StringIO())  # as a notebook's, no file
    mend_process()
    print("96×96")
    assert sys.stdout.getvalue() == "96×96\n"
