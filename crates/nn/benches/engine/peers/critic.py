"""What two Wasserstein GANs have in common."""
import torch
from torch import nn

PENALTY = 10.0


def optimizer(learned):
    return torch.optim.Adam(learned, lr=0.001, betas=(0.0, 0.9), fused=True)


def penalty(judge, fakes, reals):
    """Of the critic's gradients at points between."""
    shares = torch.rand(len(fakes), *[1] * (fakes.dim() - 1))
    between = torch.lerp(fakes, reals, shares).requires_grad_()
    slopes = torch.autograd.grad(judge(between).sum(), between, create_graph=True)[0]
    return PENALTY * (slopes.flatten(1).norm(dim=1) - 1).square().mean()


class Averaged:
    """A moving average of a network's weights."""

    def __init__(self, network):
        self.learned = list(network.parameters())
        self.averages = [array.detach().clone() for array in self.learned]

    @torch.no_grad()
    def follow(self, share):
        torch._foreach_lerp_(self.averages, self.learned, share)


def one_hot(labels, classes):
    return nn.functional.one_hot(labels, classes).float()
