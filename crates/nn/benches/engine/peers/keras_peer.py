"""The reference network in Keras on the threads given, trained on random images.

Answers each line "IMAGES" with the seconds that so many took, a batch of 32 at a time.
"""
import os
import sys
import time

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
import numpy as np
import tensorflow as tf

tf.config.threading.set_intra_op_parallelism_threads(int(sys.argv[1]))
tf.config.threading.set_inter_op_parallelism_threads(1)
layers = tf.keras.layers
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
model.compile("adam", "sparse_categorical_crossentropy")
random = np.random.default_rng(1)


def learn(images):
    values = random.random((images, 28, 28, 1), "f4")
    labels = random.integers(0, 10, images)
    begun = time.perf_counter()
    model.fit(values, labels, batch_size=32, epochs=1, verbose=0)
    return time.perf_counter() - begun


learn(320)
print("ready", flush=True)
for line in sys.stdin:
    print(learn(int(line)), flush=True)
