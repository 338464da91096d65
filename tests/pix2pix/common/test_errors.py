from pix2pix.common.errors import UserError


def test_no_name_steers_the_terminal():
    message = str(UserError("a\x1b[2J.png: \x00 \u202egnp.exe \ud800 \x9b é → ±"))
    assert message == r"a\x1b[2J.png: \x00 \u202egnp.exe \ud800 \x9b é → ±"
    assert str(UserError("one\ntwo")) == "one\ntwo"
