"""A Wasserstein GAN of table rows in PyTorch: table_gan_peer.py THREADS FOLDER.

Critic and generator learn in turns from the same made rows. All categories have as many values, so
that one softmax does for all. Answers `rate` with the seconds of an epoch, and `weights` with how
many the generator has.
"""
import sys
import time

import torch
from critic import Averaged, one_hot, optimizer, penalty
from files import Files, serve
from torch import nn

BATCH, HIDDEN, NOISE, LABELS, TEMPERATURE = 128, 256, 64, 2, 0.3
NUMBERS, CATEGORIES, VALUES = 10, 14, 8
WIDTH = NUMBERS + CATEGORIES * VALUES

threads, files = int(sys.argv[1]), Files(sys.argv[2])
torch.set_num_threads(threads)
torch.manual_seed(42)
numbers = torch.from_numpy(files.array("numbers", -1, NUMBERS))
choices, labels = (torch.from_numpy(files.indexes(name)).long() for name in ("choices", "labels"))
rows = torch.cat([numbers, one_hot(choices, VALUES).reshape(len(numbers), -1)], 1)


class Generator(nn.Module):
    def __init__(self):
        super().__init__()
        inputs = NOISE + LABELS
        self.first, self.second = nn.Linear(inputs, HIDDEN), nn.Linear(inputs + HIDDEN, HIDDEN)
        self.norms = nn.ModuleList([nn.BatchNorm1d(HIDDEN), nn.BatchNorm1d(HIDDEN)])
        self.last = nn.Linear(inputs + 2 * HIDDEN, WIDTH)

    def forward(self, noise):
        for layer, norm in zip((self.first, self.second), self.norms):
            noise = torch.cat([norm(layer(noise)).relu(), noise], 1)
        raw = self.last(noise)
        numbers = 4 * (raw[:, :NUMBERS] / 4).tanh()
        logits = raw[:, NUMBERS:].reshape(-1, CATEGORIES, VALUES)
        gumbel = -torch.empty_like(logits).exponential_().log()
        choices = ((logits + gumbel) / TEMPERATURE).softmax(2)
        return torch.cat([numbers, choices.flatten(1)], 1)


generator = Generator()
critic = nn.Sequential(
    nn.Linear(WIDTH + LABELS, HIDDEN), nn.LeakyReLU(0.2),
    nn.Linear(HIDDEN, HIDDEN), nn.LeakyReLU(0.2), nn.Linear(HIDDEN, 1),
)
judging, making = optimizer(critic.parameters()), optimizer(generator.parameters())
averaged = Averaged(generator)


def step(reals, wanted):
    told = one_hot(wanted, LABELS)

    def judge(batch):
        return critic(torch.cat([batch, told.repeat(len(batch) // len(told), 1)], 1))[:, 0]

    made = generator(torch.cat([torch.randn(len(reals), NOISE), told], 1))
    fakes = made.detach()
    judging.zero_grad()
    of_fakes, of_reals = judge(torch.cat([fakes, reals])).chunk(2)
    (of_fakes.mean() - of_reals.mean() + penalty(judge, fakes, reals)).backward()
    judging.step()

    making.zero_grad()
    fakes.requires_grad_()
    made.backward(torch.autograd.grad(-judge(fakes).mean(), fakes)[0])
    making.step()
    averaged.follow(0.005)


def seconds():
    begun = time.perf_counter()
    for chosen in torch.randperm(len(rows)).split(BATCH):
        step(rows[chosen], labels[chosen])
    return time.perf_counter() - begun


seconds()
weights = sum(array.numel() for array in generator.parameters())
serve(lambda asked: [seconds() if asked == "rate" else weights])
