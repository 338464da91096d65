import os
import pickle

import pytest
import torch

from pix2pix.common.errors import UserError
from pix2pix.unpickle import unpickled


class Payload:
    def __init__(self, command):
        self.command = command

    def __reduce__(self):
        return os.system, (self.command,)


@pytest.mark.parametrize("form", ["new", "old", "pickle", "inside a state dict"])
def test_a_malicious_pickle_never_runs(tmp_path, form):
    ran, path = tmp_path / "ran", tmp_path / "G.pth"
    payload = Payload(f"touch {ran}")
    if form == "pickle":
        path.write_bytes(pickle.dumps(payload))
    else:
        content = (
            {"weight": torch.zeros(1), "extra": payload}
            if form == "inside a state dict"
            else payload
        )
        torch.save(content, path, _use_new_zipfile_serialization=form != "old")
    with pytest.raises(UserError, match=r"not a readable checkpoint .*nothing of it was run"):
        unpickled(path)
    assert not ran.exists()
    if form == "pickle":
        pickle.loads(path.read_bytes())
    else:
        torch.load(path, weights_only=False)
    assert ran.exists(), "the payload is a real one"


def test_a_truncated_file_is_refused(tmp_path):
    torch.save({"weight": torch.ones(50)}, tmp_path / "G.pth")
    content = (tmp_path / "G.pth").read_bytes()
    for length in (0, 1, 100, len(content) // 2, len(content) - 1):
        (tmp_path / "cut.pth").write_bytes(content[:length])
        with pytest.raises(UserError, match="not a readable checkpoint"):
            unpickled(tmp_path / "cut.pth")
    with pytest.raises(UserError, match="cannot be read"):
        unpickled(tmp_path / "none.pth")
