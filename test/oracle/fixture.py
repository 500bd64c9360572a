"""How a fixture is written: JSON, tensors as base64 of little-endian float32 or int32."""
import base64
import json
import re
from pathlib import Path

import numpy as np
import torch

FIXTURES = Path(__file__).resolve().parent.parent / "fixtures"


def tensor(value: torch.Tensor) -> dict:
    array = value.detach().cpu().numpy()
    integer = np.issubdtype(array.dtype, np.integer)
    data = np.ascontiguousarray(array, dtype="<i4" if integer else "<f4")
    written = {"shape": list(array.shape), "data": base64.b64encode(data.tobytes()).decode()}
    return {**written, "dtype": "int32"} if integer else written


def save(path: str, content: dict) -> None:
    """Tensors anywhere in `content` are written as above."""
    target = FIXTURES / path
    target.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps(content, indent=1, default=tensor)
    target.write_text(re.sub(r"\[[-\d.,e\s]*\]", lambda numbers: re.sub(r"\s+", " ", numbers[0]), text) + "\n")
    print(f"{target.relative_to(FIXTURES)}: {target.stat().st_size / 1e3:.0f} kB")
