import numpy as np
import pytest
import torch
from torchvision.models import squeezenet1_1

from eval.backbones import file_sha256
from eval.lpips import load_lpips
from pix2pix.common.errors import NotMeasured, UserError

# Random weights stand in for ImageNet's: they are found, verified and loaded in the same way.
# torchvision's own layout is taken for squeeze; for alex the few tensors are written out.
ALEX = {0: (64, 3, 11), 3: (192, 64, 5), 6: (384, 192, 3), 8: (256, 384, 3), 10: (256, 256, 3)}


def alexnet_state(seed: int = 0) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    state = {}
    for layer, (outputs, inputs, kernel) in ALEX.items():
        shape = (outputs, inputs, kernel, kernel)
        scale = (2 / (inputs * kernel * kernel)) ** 0.5
        state[f"features.{layer}.weight"] = torch.randn(shape, generator=generator) * scale
        state[f"features.{layer}.bias"] = torch.zeros(outputs)
    return state


def squeezenet_state() -> dict[str, torch.Tensor]:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return squeezenet1_1(weights=None).state_dict()


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    path = tmp_path_factory.mktemp("weights") / "alexnet.pth"
    torch.save(alexnet_state(), path)
    return path


@pytest.fixture(scope="module")
def distance(file):
    return load_lpips("alex", file, download=False, sha256=file_sha256(file))


def images(count: int = 2, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (count, 48, 40, 3), dtype=np.uint8)


def test_identical_images_are_at_distance_zero(distance):
    assert distance(images(), images()).tolist() == [0, 0]


def test_is_symmetric_and_grows_with_noise(distance):
    clean = np.clip(images(), 60, 190)
    noise = np.random.default_rng(1).normal(0, 1, clean.shape)
    little, much = (np.clip(clean + noise * s, 0, 255).astype(np.uint8) for s in (5, 40))
    near, far = distance(little, clean), distance(much, clean)
    assert (near > 0).all() and (far > near).all()
    assert distance(clean, much) == pytest.approx(far, rel=1e-5)


def test_an_images_distance_does_not_depend_on_the_others(distance):
    first, second = images(3, 0), images(3, 1)
    together = distance(first, second)
    assert together.tolist() == [distance(first[i : i + 1], second[i : i + 1])[0] for i in range(3)]


def test_the_weights_in_the_file_are_the_ones_that_count(distance, tmp_path):
    torch.save(alexnet_state(seed=1), tmp_path / "other.pth")
    other = load_lpips("alex", tmp_path / "other.pth", sha256=file_sha256(tmp_path / "other.pth"))
    first, second = images(1, 0), images(1, 1)
    assert other(first, second)[0] != pytest.approx(distance(first, second)[0], rel=1e-3)


def test_loading_leaves_the_random_state_alone(file):
    before = torch.get_rng_state()
    load_lpips("alex", file, sha256=file_sha256(file))
    assert torch.equal(before, torch.get_rng_state())


def test_an_altered_file_is_refused(file, tmp_path):
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    (tmp_path / "altered.pth").write_bytes(content)
    with pytest.raises(UserError, match="sha256 is"):
        load_lpips("alex", tmp_path / "altered.pth", sha256=file_sha256(file))


def test_a_file_that_is_not_the_published_one_is_refused(file):
    with pytest.raises(UserError, match="not 7be5be79"):
        load_lpips("alex", file)


def test_a_named_file_must_exist(tmp_path):
    with pytest.raises(UserError, match="no such file"):
        load_lpips("alex", tmp_path / "absent.pth")


def test_without_a_file_it_is_not_measured_and_says_how_to_get_it(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    with pytest.raises(NotMeasured, match=r"download https://.*alexnet-owt-7be5be79\.pth"):
        load_lpips("alex", download=False)


def test_without_a_network_it_is_not_measured_and_leaves_nothing_behind(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")  # nobody listens there
    with pytest.raises(NotMeasured, match="download https://") as raised:
        load_lpips("alex")
    message = str(raised.value)
    assert message.startswith("the weights could not be downloaded (") and "urlopen" not in message
    assert message.endswith(f"put the file at {tmp_path}/hub/checkpoints/alexnet-owt-7be5be79.pth")
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_the_hubs_own_file_is_found_and_hashed_too(file, tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    cached = tmp_path / "hub" / "checkpoints" / "alexnet-owt-7be5be79.pth"
    cached.parent.mkdir(parents=True)
    cached.write_bytes(file.read_bytes())
    with pytest.raises(NotMeasured, match="altered or incomplete"):
        load_lpips("alex", download=False)
    found = load_lpips("alex", download=False, sha256=file_sha256(file))
    assert found.sha256 == file_sha256(file)


@pytest.mark.parametrize("lacking", ["features.8.bias", "features.0.weight"])
def test_a_file_that_lacks_a_tensor_is_refused(tmp_path, lacking):
    state = alexnet_state()
    del state[lacking]
    torch.save(state, tmp_path / "part.pth")
    with pytest.raises(UserError, match="1 tensors of the network are missing"):
        load_lpips("alex", tmp_path / "part.pth", sha256=file_sha256(tmp_path / "part.pth"))


def test_a_tensor_of_another_shape_is_refused(tmp_path):
    state = alexnet_state() | {"features.3.bias": torch.zeros(5)}
    torch.save(state, tmp_path / "wrong.pth")
    with pytest.raises(UserError, match="not the weights of this network"):
        load_lpips("alex", tmp_path / "wrong.pth", sha256=file_sha256(tmp_path / "wrong.pth"))


class Malicious:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


def test_a_malicious_pickle_never_runs(tmp_path):
    torch.save({"features.0.weight": Malicious(tmp_path / "ran")}, tmp_path / "bad.pth")
    with pytest.raises(UserError, match="not a readable weights file"):
        load_lpips("alex", tmp_path / "bad.pth", sha256=file_sha256(tmp_path / "bad.pth"))
    assert not (tmp_path / "ran").exists()


def test_other_networks_by_name(tmp_path):
    torch.save(squeezenet_state(), tmp_path / "squeeze.pth")
    squeeze = load_lpips(
        "squeeze", tmp_path / "squeeze.pth", sha256=file_sha256(tmp_path / "squeeze.pth")
    )
    assert squeeze(images(), images()).tolist() == [0, 0]
    assert squeeze(images(1), images(1, 1))[0] > 0
    with pytest.raises(ValueError, match="must be one of alex, vgg, squeeze"):
        load_lpips("resnet")


def test_refuses_images_that_do_not_fit(distance):
    with pytest.raises(ValueError, match="31 pixels"):
        distance(images()[:, :30], images()[:, :30])
    with pytest.raises(ValueError, match="must both be"):
        distance(images(2), images(1))
    with pytest.raises(ValueError, match="uint8"):
        distance(images() / 255, images() / 255)
