"""The digit network in ONNX Runtime on one thread: onnxruntime_peer.py 1 FOLDER.

Answers `rate BATCH` with the seconds that one image took.
"""
import subprocess
import sys
import time
from pathlib import Path

import onnxruntime
from files import Files, serve

files = Files(sys.argv[2])
maker = Path(__file__).parents[5] / "scripts/peers/digits_onnx.py"
subprocess.run([sys.executable, maker, files.folder], check=True)
options = onnxruntime.SessionOptions()
options.intra_op_num_threads = options.inter_op_num_threads = 1
session = onnxruntime.InferenceSession(
    files.folder / "digits.onnx", options, providers=["CPUExecutionProvider"]
)
images = files.array("images", -1, 1, 28, 28)
files.answer("answers.f32", session.run(None, {"x": images})[0])
bindings = {}


def answer(_, batch):
    batch = int(batch)
    if batch not in bindings:
        # Bound once, so that Python's own time is small.
        binding = session.io_binding()
        binding.bind_cpu_input("x", images[:batch])
        binding.bind_output("y")
        bindings[batch] = binding
    runs = max(1, 64 // batch)
    begun = time.perf_counter()
    for _ in range(runs):
        session.run_with_iobinding(bindings[batch])
    return [(time.perf_counter() - begun) / runs / batch]


serve(answer)
