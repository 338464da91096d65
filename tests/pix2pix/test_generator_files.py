from collections import OrderedDict

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from pix2pix.common.errors import UserError
from pix2pix.generator_files import (
    dropout_sizes,
    open_generator,
    port_layout,
    read_port_generator,
)
from pix2pix.networks import PatchDiscriminator, UNetGenerator
from pix2pix.translation import PROTOCOLS, noise_seed, translate

from .port_reference import PortResnet, PortUNet, port_translation, trained

DEPTHS = {"unet_256": 8, "unet_128": 7}


def photo(side, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (side, side, 3), dtype=np.uint8)


def both(network, x, seed):
    """A network's output with the dropout noise of that seed."""
    with torch.random.fork_rng(), torch.no_grad():
        torch.manual_seed(seed)
        return network(x)


DEEPER = port_layout(7)["encoder.2.1.weight"].removesuffix(".weight")  # a convolution


@pytest.mark.parametrize("name", DEPTHS)
@pytest.mark.parametrize("seed", [0, 1])
def test_outputs_are_the_ports_own_bit_for_bit_with_its_dropout(name, seed):
    depth = DEPTHS[name]
    theirs = trained(depth, seed=seed)
    ours = read_port_generator("file", theirs.state_dict()).eval()
    x = torch.rand(1, 3, 2**depth, 2**depth) * 2 - 1
    assert torch.equal(both(ours, x.clone(), 5), both(theirs.train(), x.clone(), 5))
    assert not torch.equal(both(ours, x, 5), both(ours, x, 6)), "dropout is on"


@pytest.mark.parametrize("name", DEPTHS)
def test_outputs_without_dropout_and_with_running_statistics_are_the_ports_too(name):
    depth = DEPTHS[name]
    theirs = trained(depth, dropout=False)
    x = torch.rand(1, 3, 2**depth, 2**depth) * 2 - 1
    without = read_port_generator("file", theirs.state_dict(), dropout=False)
    state = {k: v.clone() for k, v in theirs.state_dict().items()}
    fixed = read_port_generator("file", state, running_statistics=True)
    with torch.no_grad():
        assert torch.equal(without(x.clone()), theirs.train()(x.clone()))
        theirs.load_state_dict(state)
        assert torch.equal(fixed(x.clone()), theirs.eval()(x.clone()))
        assert not torch.equal(fixed(x), without(x))


@pytest.mark.parametrize("blocks", [6, 9])
@pytest.mark.parametrize("dropout", [False, True])
@pytest.mark.parametrize("protocol", ["port", "port-eval"])
def test_cyclegans_files_translate_as_the_ports_own_network(tmp_path, blocks, dropout, protocol):
    torch.manual_seed(blocks)
    theirs = PortResnet(blocks, dropout=dropout)
    torch.save(theirs.state_dict(), tmp_path / "latest_net_G_A.pth")
    saved = open_generator(tmp_path / "latest_net_G_A.pth", protocol)
    assert (saved.channels, saved.multiple) == ((3, 3), 4)
    assert f"resnet of {blocks} blocks, width 4" in saved.description
    image, seed = photo(64), noise_seed(3, "a")
    options = {"seed": 3, "device": torch.device("cpu"), "protocol": PROTOCOLS[protocol]}
    ((_, made),) = translate(saved.network, image[None], ["a"], **options)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        wanted = port_translation(theirs, image, evaluated=protocol == "port-eval")
    assert np.array_equal(made, wanted)


@pytest.mark.parametrize("evaluated", [False, True])
def test_translations_are_the_bytes_that_the_ports_test_script_writes(tmp_path, evaluated):
    network = trained(7)
    torch.save(network.state_dict(), tmp_path / "latest_net_G.pth")
    protocol = "port-eval" if evaluated else "port"
    saved = open_generator(tmp_path / "latest_net_G.pth", protocol)
    image = photo(128)
    ((_, made),) = translate(
        saved.network,
        image[None],
        ["a"],
        seed=3,
        device=torch.device("cpu"),
        protocol=PROTOCOLS[protocol],
    )
    with torch.random.fork_rng():
        torch.manual_seed(noise_seed(3, "a"))
        assert np.array_equal(made, port_translation(network, image, evaluated))


def test_dropout_stands_where_the_port_has_it():
    for depth, sizes in ((8, [4, 8, 16]), (7, [4, 8]), (5, [])):
        network = read_port_generator("file", trained(depth, width=1).state_dict())
        assert dropout_sizes(network, 2**depth) == sizes
    assert dropout_sizes(UNetGenerator(width=1, depth=8), 256) == [2, 4, 8]


def test_the_layout_holds_every_tensor_once():
    state = PortUNet(8, 2).state_dict()
    learned = [k for k in state if not k.rpartition(".")[2].startswith(("running", "num_"))]
    assert sorted(port_layout(8).values()) == sorted(learned)
    assert port_layout(8).keys() == UNetGenerator(width=2, depth=8).state_dict().keys()


def variants():
    state = trained(7, width=2).state_dict()
    assert hasattr(state, "_metadata")
    yield "as saved", state
    yield "DataParallel", OrderedDict((f"module.{k}", v) for k, v in state.items())
    old = {k: v for k, v in state.items() if not k.endswith("num_batches_tracked")}
    yield "before num_batches_tracked", old
    yield "half precision", {k: v.half() if v.is_floating_point() else v for k, v in state.items()}
    yield "parameters", {k: nn.Parameter(v) if v.ndim == 4 else v for k, v in state.items()}


@pytest.mark.parametrize(("name", "state"), variants(), ids=lambda v: v if type(v) is str else "")
def test_every_way_in_which_such_files_were_written(tmp_path, name, state):
    torch.save(state, tmp_path / "G.pth")
    saved = open_generator(tmp_path / "G.pth")
    assert saved.description == (
        "U-Net 128, width 2, BatchNorm, the PyTorch port's layout: dropout on decoder outputs of"
        " size 4, 8; BatchNorm uses each image's own statistics"
    )
    reference = open_variant(trained(7, width=2).state_dict(), tmp_path).network
    x = torch.rand(1, 3, 128, 128)
    tolerance = 0.05 if name == "half precision" else 0
    assert (both(saved.network, x, 1) - both(reference, x, 1)).abs().max() <= tolerance


def open_variant(state, folder, **options):
    torch.save(state, folder / "variant.pth")
    return open_generator(folder / "variant.pth", **options)


def test_what_the_protocol_and_the_option_change_is_said(tmp_path):
    state = trained(8, width=1).state_dict()
    said = open_variant(state, tmp_path, protocol="port-eval").description
    assert said.endswith("no dropout; BatchNorm uses the file's running statistics")
    said = open_variant(state, tmp_path, dropout=False).description
    assert "layout: no dropout; BatchNorm uses each image's own" in said
    assert (
        "dropout on decoder outputs of size 4, 8, 16;" in open_variant(state, tmp_path).description
    )


def test_a_file_of_torchs_old_format_is_read(tmp_path):
    state = trained(7, width=2).state_dict()
    torch.save(state, tmp_path / "old.pth", _use_new_zipfile_serialization=False)
    assert open_generator(tmp_path / "old.pth").multiple == 128


def test_other_channels_are_read_from_the_file(tmp_path):
    saved = open_variant(trained(7, 2, channels=(1, 3)).state_dict(), tmp_path)
    assert saved.channels == (1, 3) and saved.multiple == 128 and saved.seed == 0


def under(prefix, state=None):
    return {f"{prefix}{name}": value for name, value in (state or whole()).items()}


def whole():
    return trained(7, width=2).state_dict()


WRAPPED = {
    "compiled": lambda: under("_orig_mod."),
    "compiled, then DataParallel": lambda: under("module._orig_mod."),
    "compiled inside": lambda: {
        k.replace("model.", "model._orig_mod.", 1): v for k, v in under("").items()
    },
    "DataParallel inside": lambda: {
        k.replace("model.", "model.module.", 1): v for k, v in under("").items()
    },
    "of an enclosing module": lambda: under("netG.") | under("netD.", discriminator()),
    "Lightning's": lambda: {
        "epoch": 3,
        "state_dict": under("netG._orig_mod.") | under("netD.", discriminator()),
        "optimizer_states": [optimiser()],
        "hyper_parameters": {"lr": 2e-4},
    },
    "state_dict": lambda: {"state_dict": whole()},
    "model": lambda: {"model": under("module."), "step": 7},
    "netG": lambda: {"netG": whole(), "netD": discriminator()},
    "two deep": lambda: {"state_dict": {"netG": whole(), "netD": discriminator()}},
}


@pytest.mark.parametrize("how", [*WRAPPED, "safetensors", "compiled safetensors"])
def test_whole_weights_are_read_whatever_is_around_them(tmp_path, how):
    if how.endswith("safetensors"):
        state = under("_orig_mod.") if how.startswith("compiled") else whole()
        save_file(dict(state), tmp_path / "variant.safetensors")
        saved = open_generator(tmp_path / "variant.safetensors", "port-eval")
    else:
        saved = open_variant(WRAPPED[how](), tmp_path, protocol="port-eval")
    plain = open_variant(whole(), tmp_path, protocol="port-eval")
    assert saved.description == plain.description
    expected = plain.network.state_dict()
    for name, tensor in saved.network.state_dict().items():
        assert torch.equal(tensor, expected[name])


def test_damaged_safetensors_are_one_line(tmp_path):
    save_file(dict(whole()), tmp_path / "whole.safetensors")
    content = (tmp_path / "whole.safetensors").read_bytes()
    lines = content.replace(b'"F32"', b'"F\\n"', 1)
    path = tmp_path / "cut.safetensors"
    for damaged in (content[:-5], content[:40], content[:8] + b"{" * 100, lines):
        path.write_bytes(damaged)
        with pytest.raises(UserError, match=r"cut\.safetensors: not a readable safetens") as caught:
            open_generator(path)
        assert "\n" not in str(caught.value)


def without(key):
    state = trained(7, width=2).state_dict()
    del state[key]
    return state


def changed(**tensors):
    names = {"first": "model.model.0.weight", "inner": "model.model.1.model.1.weight"}
    extra = {names.get(name, name): value for name, value in tensors.items()}
    return trained(7, width=2).state_dict() | extra


def resnet():
    return {
        "model.1.weight": torch.zeros(64, 3, 7, 7),
        "model.10.conv_block.1.weight": torch.zeros(8, 8, 3, 3),
    }


def optimiser():
    network = nn.Linear(2, 2)
    adam = torch.optim.Adam(network.parameters())
    network(torch.zeros(1, 2)).sum().backward()
    adam.step()
    return adam.state_dict()


def discriminator():
    layers = [nn.Conv2d(6, 8, 4), nn.LeakyReLU(), nn.Conv2d(8, 16, 4), nn.BatchNorm2d(16)]
    return {f"model.{k}": v for k, v in nn.Sequential(*layers).state_dict().items()}


REFUSED = {
    "InstanceNorm": (
        lambda: trained(7, 2, norm=nn.InstanceNorm2d).state_dict(),
        r"lacks 'model.model.1.model.2.weight', .* \(.* in all\); has 'model.model.0.bias', ",
    ),
    "half a resnet": (resnet, "residual network: lacks its first or last layer"),
    "resnet with BatchNorm": (
        lambda: PortResnet(2, norm=nn.BatchNorm2d).state_dict(),
        r"residual network with InstanceNorm: has 'model.2.weight', ",
    ),
    "resnet of other shapes": (
        lambda: PortResnet(2).state_dict() | {"model.4.weight": torch.zeros(8, 4, 5, 5)},
        "size mismatch for model.4.weight",
    ),
    "discriminator": (discriminator, r"lacks 'model.model.0.weight'.*'model.0.weight'"),
    "ours, bare": (
        lambda: UNetGenerator(width=2, depth=7).state_dict(),
        r"has 'encoder.0.0.weight', 'encoder.1.1.weight', 'encoder.1.2.weight', … \(",
    ),
    "our D": (lambda: PatchDiscriminator(width=2).state_dict(), "has 'layers.0.weight'"),
    "optimiser": (optimiser, r"lacks .*; has 'state', 'param_groups'$"),
    "two generators": (
        lambda: {"netG": trained(7, 2).state_dict(), "ema": trained(7, 2).state_dict()},
        r"holds 2 generators, 'ema', 'netG': save the state_dict\(\) of one in a file of its own$",
    ),
    "two generators with prefixes": (
        lambda: under("netG_A.") | under("netG_B."),
        "holds 2 generators, 'netG_A', 'netG_B'",
    ),
    "in too many dictionaries": (
        lambda: {"a": {"b": {"c": trained(7, 2).state_dict()}}},
        "lacks .*; has 'a'$",
    ),
    "a list": (lambda: [torch.zeros(1)], "holds no state dict of a generator"),
    "empty": (dict, "lacks 'model.model.0.weight'"),
    "one key less": (
        lambda: without("model.model.3.bias"),
        r"BatchNorm: lacks 'model.model.3.bias'$",
    ),
    "statistics of a convolution": (
        lambda: changed(
            **{f"{port_layout(7)['encoder.2.1.weight'][:-7]}.running_mean": torch.ones(1)}
        ),
        r"BatchNorm: has 'model\.model\.1\.model\.3\.model\.1\.running_mean'$",
    ),
    "one key more": (lambda: changed(extra=torch.zeros(1)), "BatchNorm: has 'extra'$"),
    "a name of two lines": (
        lambda: {"a\nb\x1b[2J": torch.zeros(1)},
        r"has 'a\\nb\\x1b\[2J'$",
    ),
    "too deep": (lambda: {"model" + ".model" * 30: torch.zeros(1)}, "lacks 'model.model.0.weight'"),
    "3x3": (
        lambda: changed(inner=torch.zeros(4, 2, 3, 3)),
        r"size mismatch for encoder.1.1.weight: .*\[4, 2, 3, 3\]\) from checkpoint",
    ),
    "no convolution": (lambda: changed(first=torch.zeros(4)), "is not a convolution's"),
    "whole numbers": (
        lambda: changed(inner=torch.zeros(4, 2, 4, 4, dtype=torch.int64)),
        "not an ordinary tensor",
    ),
    "a small file that claims much": (
        lambda: changed(inner=torch.zeros(1).expand(4, 2, 4, 4)),
        "not an ordinary tensor",
    ),
    "not a number": (
        lambda: changed(inner=torch.full((4, 2, 4, 4), torch.nan)),
        "encoder.1.1.weight holds values that are not finite",
    ),
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_is_not_recognised_is_refused_with_the_first_keys_that_differ(tmp_path, what):
    make, message = REFUSED[what]
    with pytest.raises(UserError, match=message) as refusal:
        open_variant(make(), tmp_path)
    assert "\n" not in str(refusal.value) and "variant.pth: " in str(refusal.value)


def test_running_statistics_must_be_there_for_the_protocol_that_needs_them(tmp_path):
    lacking = without("model.model.1.model.2.running_var")
    assert open_variant(lacking, tmp_path).multiple == 128
    with pytest.raises(UserError, match=r"lacks 'model.model.1.model.2.running_var'$"):
        open_variant(lacking, tmp_path, protocol="port-eval")


def test_bytes_changed_at_random_end_in_a_generator_or_in_one_line(tmp_path):
    rng = np.random.default_rng(0)
    outcomes = set()
    for zipped in (True, False):
        path = tmp_path / "G.pth"
        state = trained(5, width=1).state_dict()
        torch.save(state, path, _use_new_zipfile_serialization=zipped)
        whole = path.read_bytes()
        start = whole.find(b"model.model")
        for _ in range(60):
            content = bytearray(whole)
            for place in rng.integers(start - 300, start + 2500, 2):
                content[place] = rng.integers(256)
            path.write_bytes(content)
            try:
                outcomes.add(type(open_generator(path)).__name__)
            except UserError as error:
                assert str(error).isprintable(), "one line"
                outcomes.add("refused")
    assert outcomes == {"SavedGenerator", "refused"}
