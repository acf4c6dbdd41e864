"""A bidirectional GRU over word vectors in PyTorch: gru_peer.py THREADS FOLDER.

Batches are of texts of about the same length, cut from tensors, so that next to nothing is padded
and no loader costs anything. Answers `rate` with the seconds of an epoch.
"""
import sys
import time

import numpy as np
import torch
from files import Files, serve
from torch import nn

BATCH, WIDTH = 64, 128

threads, files = int(sys.argv[1]), Files(sys.argv[2])
torch.set_num_threads(threads)
torch.manual_seed(42)
words, ends, labels = (files.indexes(name).astype("i8") for name in ("words", "ends", "labels"))
texts = np.split(words, ends[:-1])


class Network(nn.Module):
    def __init__(self):
        super().__init__()
        self.vectors = nn.Embedding(int(words.max()) + 1, WIDTH)
        self.recurrent = nn.GRU(WIDTH, WIDTH, bidirectional=True, batch_first=True)
        self.output = nn.Linear(4 * WIDTH, int(labels.max()) + 1)

    def forward(self, batch, real):
        vectors = nn.functional.dropout(self.vectors(batch), 0.3)
        states, _ = self.recurrent(vectors)
        largest = states.masked_fill(~real, -2).amax(1)
        mean = (states * real).sum(1) / real.sum(1)
        return self.output(nn.functional.dropout(torch.cat([largest, mean], 1), 0.5))


def batches():
    order = sorted(range(len(texts)), key=lambda row: len(texts[row]))
    for rows in (order[first : first + BATCH] for first in range(0, len(order), BATCH)):
        batch = np.zeros((len(rows), max(len(texts[row]) for row in rows)), "i8")
        real = np.zeros_like(batch, "?")
        for place, row in enumerate(rows):
            batch[place, : len(texts[row])] = texts[row]
            real[place, : len(texts[row])] = True
        yield torch.from_numpy(batch), torch.from_numpy(real[:, :, None]), torch.from_numpy(labels[rows])


network = Network()
optimizer = torch.optim.AdamW(network.parameters(), lr=0.002, weight_decay=0.01, fused=True)
loss = nn.CrossEntropyLoss(label_smoothing=0.1)
prepared = list(batches())


def seconds():
    begun = time.perf_counter()
    for number in torch.randperm(len(prepared)):
        batch, real, wanted = prepared[number]
        optimizer.zero_grad()
        loss(network(batch, real), wanted).backward()
        nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
    return time.perf_counter() - begun


seconds()
serve(lambda _: [seconds()])
