"""A variational autoencoder of images in PyTorch: vae_peer.py THREADS FOLDER.

Batches are cut from tensors, so no loader costs anything. Answers `rate` with the seconds of an
epoch, and `weights` with how many it learns.
"""
import sys
import time

import torch
from files import Files, serve
from torch import nn

BATCH, HIDDEN, LATENT = 128, 512, 20

threads, files = int(sys.argv[1]), Files(sys.argv[2])
torch.set_num_threads(threads)
torch.manual_seed(42)
images = torch.from_numpy(files.images("sample")[0]).flatten(1)


def layers(inputs, outputs):
    return nn.Sequential(
        nn.Linear(inputs, HIDDEN), nn.GELU(), nn.Linear(HIDDEN, HIDDEN), nn.GELU(),
        nn.Linear(HIDDEN, outputs),
    )


encoder, decoder = layers(784, 2 * LATENT), layers(LATENT, 784)
learned = [*encoder.parameters(), *decoder.parameters()]
optimizer = torch.optim.Adam(learned, fused=True)


def loss(batch):
    mean, log_variance = encoder(batch).chunk(2, 1)
    code = mean + (0.5 * log_variance).exp() * torch.randn_like(mean)
    told = nn.functional.binary_cross_entropy_with_logits(decoder(code), batch, reduction="sum")
    divergence = 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance).sum()
    return (told + divergence) / len(batch)


def seconds():
    begun = time.perf_counter()
    for rows in torch.randperm(len(images)).split(BATCH):
        optimizer.zero_grad()
        loss(images[rows]).backward()
        optimizer.step()
    return time.perf_counter() - begun


seconds()
serve(lambda asked: [seconds() if asked == "rate" else sum(array.numel() for array in learned)])
