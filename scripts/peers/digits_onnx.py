"""The digit network for ONNX Runtime: digits_onnx.py FOLDER writes digits.onnx there.

Reads the weights from the folder, each array raw in a file of its name such as
`0.conv2d.kernel.f32`.
"""
import sys
from pathlib import Path

import numpy as np
from onnx import TensorProto, helper, numpy_helper

folder = Path(sys.argv[1])


def array(name, *shape):
    return np.fromfile(folder / f"{name}.f32", "<f4").reshape(shape)


def convolution(name, channels, filters):
    kernel = array(f"{name}.kernel", 3, 3, channels, filters)
    return np.ascontiguousarray(kernel.transpose(3, 2, 0, 1))


# Flattened here by height, width, channel; there by channel, height, width.
dense = array("6.dense.kernel", 5, 5, 64, 64).transpose(2, 0, 1, 3).reshape(1600, 64)
arrays = {
    "k1": convolution("0.conv2d", 1, 32), "b1": array("0.conv2d.bias", 32),
    "k2": convolution("2.conv2d", 32, 64), "b2": array("2.conv2d.bias", 64),
    "k3": np.ascontiguousarray(dense), "b3": array("6.dense.bias", 64),
    "k4": array("8.dense.kernel", 64, 10), "b4": array("8.dense.bias", 10),
}
node = helper.make_node
pool = {"kernel_shape": [2, 2], "strides": [2, 2]}
graph = helper.make_graph(
    [
        node("Conv", ["x", "k1", "b1"], ["c1"], kernel_shape=[3, 3]),
        node("Relu", ["c1"], ["r1"]),
        node("MaxPool", ["r1"], ["p1"], **pool),
        node("Conv", ["p1", "k2", "b2"], ["c2"], kernel_shape=[3, 3]),
        node("Relu", ["c2"], ["r2"]),
        node("MaxPool", ["r2"], ["p2"], **pool),
        node("Flatten", ["p2"], ["f"]),
        node("Gemm", ["f", "k3", "b3"], ["g1"]),
        node("Relu", ["g1"], ["r3"]),
        node("Gemm", ["r3", "k4", "b4"], ["g2"]),
        node("Softmax", ["g2"], ["y"]),
    ],
    "digits",
    [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 1, 28, 28])],
    [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 10])],
    [numpy_helper.from_array(value, name) for name, value in arrays.items()],
)
model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
model.ir_version = 9
(folder / "digits.onnx").write_bytes(model.SerializeToString())
