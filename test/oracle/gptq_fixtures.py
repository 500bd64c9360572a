"""What the tests need of the GPTQ authors' outputs (see README.md): the large cases without their inputs, whose Hessian is there.

    python test/oracle/gptq_fixtures.py DIR      DIR has cases.json and NAME.safetensors; writes test/fixtures/gptq/
"""
import json
import sys
from pathlib import Path

from safetensors.numpy import load_file, save_file

from fixture import FIXTURES

LARGEST_INPUTS = 128 * 1024
source = Path(sys.argv[1])
target = FIXTURES / "gptq"
target.mkdir(parents=True, exist_ok=True)
cases = json.loads((source / "cases.json").read_text())
for case in cases:
    tensors = load_file(source / f"{case['name']}.safetensors")
    if tensors["inputs"].nbytes > LARGEST_INPUTS:
        del tensors["inputs"]
    save_file(tensors, target / f"{case['name']}.safetensors")
    print(case["name"], {name: tensor.shape for name, tensor in tensors.items()})
(target / "cases.json").write_text("[\n" + ",\n".join(json.dumps(case) for case in cases) + "\n]\n")
