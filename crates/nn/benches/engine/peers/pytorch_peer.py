"""The reference network in PyTorch: pytorch_peer.py THREADS FOLDER.

Answers as keras_peer.py does. Batches are cut from tensors, so no loader costs anything.
"""
import sys
import time

import numpy as np
import torch
from files import Files, serve
from torch import nn

threads, files = int(sys.argv[1]), Files(sys.argv[2])
torch.set_num_threads(threads)
torch.manual_seed(42)


def fresh():
    model = nn.Sequential(
        nn.Conv2d(1, 32, 3), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(32, 64, 3), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(), nn.Linear(1600, 64), nn.ReLU(), nn.Linear(64, 10),
    )
    # As is fastest here.
    model = model.to(memory_format=torch.channels_last)
    return model, torch.optim.Adam(model.parameters(), fused=True)


def tensors(name):
    images, labels = files.images(name)
    images = torch.from_numpy(images[:, None]).to(memory_format=torch.channels_last)
    return images, torch.from_numpy(labels)


def epoch(model, optimizer, images, labels):
    order = torch.randperm(len(images))
    loss = nn.CrossEntropyLoss()
    for rows in order.split(32):
        optimizer.zero_grad()
        loss(model(images[rows]), labels[rows]).backward()
        optimizer.step()


def convolution(name, channels, filters):
    return files.array(f"{name}.kernel", 3, 3, channels, filters).transpose(3, 2, 0, 1)


# Flattened there by height, width, channel; here by channel, height, width.
dense = files.array("5.dense.kernel", 5, 5, 64, 64).transpose(2, 0, 1, 3).reshape(1600, 64)
weights = [
    convolution("0.conv2d", 1, 32), files.array("0.conv2d.bias", 32),
    convolution("2.conv2d", 32, 64), files.array("2.conv2d.bias", 64),
    dense.T, files.array("5.dense.bias", 64),
    files.array("6.dense.kernel", 64, 10).T, files.array("6.dense.bias", 10),
]
model, optimizer = fresh()
with torch.no_grad():
    for parameter, values in zip(model.parameters(), weights, strict=True):
        parameter.copy_(torch.from_numpy(np.ascontiguousarray(values)))
sample = tensors("sample")
with torch.no_grad():
    files.answer("answers.f32", model(sample[0][:64]).softmax(1))


def seconds():
    begun = time.perf_counter()
    epoch(model, optimizer, *sample)
    return time.perf_counter() - begun


def answer(request, *arguments):
    if request == "rate":
        return [seconds()]
    learner, training = fresh(), tensors("training")
    for _ in range(int(arguments[0])):
        epoch(*learner, *training)
    images, labels = tensors("held_out")
    with torch.no_grad():
        return [(learner[0](images).argmax(1) == labels).float().mean().item()]


seconds()
serve(answer)
