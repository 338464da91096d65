import math

import pytest
import torch

from pix2pix.losses import GAN_LOSSES


def logits(*values):
    return torch.tensor(values).reshape(1, 1, 1, -1)


def test_cross_entropy_by_hand():
    loss = GAN_LOSSES["cross-entropy"]()
    real, generated = loss.discriminator(logits(0.0), logits(0.0))
    assert real.item() == pytest.approx(math.log(2))
    assert generated.item() == pytest.approx(math.log(2))
    # D sure and right: nothing to learn; sure and wrong: the loss is the logit.
    real, generated = loss.discriminator(logits(50.0), logits(50.0))
    assert real.item() == pytest.approx(0, abs=1e-6)
    assert generated.item() == pytest.approx(50)


def test_the_generator_maximises_log_d_and_so_has_a_gradient_where_d_is_sure():
    logit = logits(-20.0).requires_grad_()
    GAN_LOSSES["cross-entropy"]().generator(logit).backward()
    assert logit.grad.item() == pytest.approx(-1, abs=1e-4)


def test_least_squares_by_hand():
    loss = GAN_LOSSES["least-squares"]()
    real, generated = loss.discriminator(logits(1.0, 0.0), logits(0.0, 2.0))
    assert (real.item(), generated.item()) == (0.5, 2.0)
    assert loss.generator(logits(1.0, 3.0)).item() == 2.0


def test_hinge_by_hand():
    loss = GAN_LOSSES["hinge"]()
    real, generated = loss.discriminator(logits(0.5, 3.0), logits(-0.5, -3.0))
    assert (real.item(), generated.item()) == (0.25, 0.25)
    assert loss.generator(logits(0.5, 1.5)).item() == -1.0


@pytest.mark.parametrize("name", GAN_LOSSES)
def test_every_gan_loss_pushes_d_and_g_against_each_other(name):
    loss, logit = GAN_LOSSES[name](), logits(0.3).requires_grad_()
    (for_g,) = torch.autograd.grad(loss.generator(logit), logit)
    (for_d,) = torch.autograd.grad(loss.discriminator(logits(0.0), logit)[1], logit)
    (for_real,) = torch.autograd.grad(loss.discriminator(logit, logits(0.0))[0], logit)
    assert for_g < 0 < for_d and for_real < 0
