import pytest

from eval.errors import ScoringError
from pix2pix.common.errors import UserError


@pytest.mark.parametrize("kind", [UserError, ScoringError])
def test_no_name_steers_the_terminal(kind):
    said = str(kind("a\x1b[2J.png: \x00 \u202egnp.exe \ud800 \x9b é → ±"))
    assert said == r"a\x1b[2J.png: \x00 \u202egnp.exe \ud800 \x9b é → ±"
    assert str(kind("one\ntwo")) == "one\ntwo"
