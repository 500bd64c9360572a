"""What the PyTorch scripts of `npm run bench -- NAME --torch PYTHON` have in common: they say who they are, then run a step for
every line they read and print its milliseconds."""
import json
import resource
import sys
import time

import torch

TASK = json.loads(sys.argv[1])
GPU = TASK["gpu"] and torch.cuda.is_available()
DEVICE = torch.device("cuda" if GPU else "cpu")
torch.set_num_threads(TASK["threads"])


def taken():
    """Bytes: of the process, or of tensors on the GPU, at most."""
    return torch.cuda.max_memory_allocated() if GPU else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def serve(step, **about):
    """`step(index)` may return a dictionary to be printed beside the time."""
    name = torch.cuda.get_device_name() if GPU else f"{TASK['threads']} threads"
    print(json.dumps({"version": torch.__version__, "device": name, **about}), flush=True)
    before = 0 if GPU else taken()
    for index, _ in enumerate(sys.stdin):
        started = time.perf_counter()
        more = step(index)
        if GPU:
            torch.cuda.synchronize()
        ms = (time.perf_counter() - started) * 1e3
        print(json.dumps({"ms": ms, "peakBytes": taken() - before, **(more or {})}), flush=True)
