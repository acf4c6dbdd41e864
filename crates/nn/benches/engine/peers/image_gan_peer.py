"""A convolutional Wasserstein GAN of images in PyTorch: image_gan_peer.py THREADS FOLDER.

Critic and generator learn from the same step, so what is made is judged once. Answers `rate` with
the seconds of an epoch, and `weights` with how many the generator has.
"""
import sys
import time

import torch
from critic import Averaged, one_hot, optimizer, penalty
from files import Files, serve
from torch import nn

BATCH, FILTERS, NOISE, LABELS = 32, 16, 64, 10

threads, files = int(sys.argv[1]), Files(sys.argv[2])
torch.set_num_threads(threads)
torch.manual_seed(42)
images, labels = (torch.from_numpy(array) for array in files.images("sample"))
images = images[:, None].to(memory_format=torch.channels_last)

generator = nn.Sequential(
    nn.Linear(NOISE + LABELS, 2 * FILTERS * 49), nn.ReLU(), nn.Unflatten(1, (2 * FILTERS, 7, 7)),
    nn.ConvTranspose2d(2 * FILTERS, FILTERS, 4, 2, 1), nn.ReLU(),
    nn.ConvTranspose2d(FILTERS, 1, 4, 2, 1), nn.Sigmoid(),
).to(memory_format=torch.channels_last)
critic = nn.Sequential(
    nn.Conv2d(1, FILTERS, 4, 2, 1), nn.LeakyReLU(0.2),
    nn.Conv2d(FILTERS, 2 * FILTERS, 4, 2, 1), nn.LeakyReLU(0.2),
    nn.Flatten(), nn.Linear(2 * FILTERS * 49, 1 + LABELS),
).to(memory_format=torch.channels_last)
optimizers = [optimizer(critic.parameters()), optimizer(generator.parameters())]
averaged = Averaged(generator)


def step(reals, wanted):
    def judge(batch):
        marks = critic(batch)
        own = wanted.repeat(len(batch) // len(wanted))
        return marks[:, 0] + marks.gather(1, 1 + own[:, None])[:, 0]

    noise = torch.randn(len(reals), NOISE)
    made = generator(torch.cat([noise, one_hot(wanted, LABELS)], 1))
    fakes = made.detach().requires_grad_()
    for each in optimizers:
        each.zero_grad()
    of_fakes, of_reals = judge(torch.cat([fakes, reals])).chunk(2)
    (of_fakes.mean() - of_reals.mean() + penalty(judge, fakes.detach(), reals)).backward()
    made.backward(-fakes.grad)
    for each in optimizers:
        each.step()
    averaged.follow(0.002)


def seconds():
    begun = time.perf_counter()
    for rows in torch.randperm(len(images)).split(BATCH):
        step(images[rows], labels[rows])
    return time.perf_counter() - begun


seconds()
weights = sum(array.numel() for array in generator.parameters())
serve(lambda asked: [seconds() if asked == "rate" else weights])
