"""The reference network in Keras: keras_peer.py THREADS FOLDER.

Answers `rate` with the seconds that the images of `sample` took, a batch of 32 at a time, and
`learn EPOCHS` with the accuracy on `held_out` after so many epochs over `training`.
"""
import os
import sys
import time

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
import tensorflow as tf
from files import Files, serve

threads, files = int(sys.argv[1]), Files(sys.argv[2])
tf.config.threading.set_intra_op_parallelism_threads(threads)
tf.config.threading.set_inter_op_parallelism_threads(1)
layers = tf.keras.layers


def fresh():
    model = tf.keras.Sequential([
        layers.Input((28, 28, 1)),
        layers.Conv2D(32, 3, activation="relu"),
        layers.MaxPool2D(),
        layers.Conv2D(64, 3, activation="relu"),
        layers.MaxPool2D(),
        layers.Flatten(),
        layers.Dense(64, activation="relu"),
        layers.Dense(10, activation="softmax"),
    ])
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


model = fresh()
model.set_weights([
    files.array("0.conv2d.kernel", 3, 3, 1, 32), files.array("0.conv2d.bias", 32),
    files.array("2.conv2d.kernel", 3, 3, 32, 64), files.array("2.conv2d.bias", 64),
    files.array("5.dense.kernel", 1600, 64), files.array("5.dense.bias", 64),
    files.array("6.dense.kernel", 64, 10), files.array("6.dense.bias", 10),
])
images, labels = files.images("sample")
images = images[..., None]
files.answer("answers.f32", model.predict(images[:64], verbose=0))


def seconds():
    begun = time.perf_counter()
    model.fit(images, labels, batch_size=32, epochs=1, verbose=0)
    return time.perf_counter() - begun


def answer(request, *arguments):
    if request == "rate":
        return [seconds()]
    learner, (images, labels) = fresh(), files.images("training")
    learner.fit(images[..., None], labels, batch_size=32, epochs=int(arguments[0]), verbose=0)
    images, labels = files.images("held_out")
    return [learner.evaluate(images[..., None], labels, verbose=0)[1]]


seconds()
serve(answer)
