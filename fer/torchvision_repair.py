"""Make `import torchvision` work beside a CPU build of torch.

The torchvision wheel on PyPI for Linux is compiled against CUDA builds of torch. Beside a CPU build its compiled
operators do not load, and then `import torchvision` fails with "operator torchvision::nms does not exist" (one
missing operator after the other), although models and transforms need none of them. Declaring the schema of the
operator that the message names lets the import go through; calling `torchvision.ops.nms` still raises a clear error.

On a matching pair of wheels nothing is declared: this does nothing but import torchvision. It has to happen before
timm or torchmetrics are imported, so import those through `import_repaired`, whose order no import sorter can change:

    timm = import_repaired("timm")
"""

from __future__ import annotations

import importlib
import re
import sys
from types import ModuleType

_MISSING = re.compile(r"operator torchvision::(\w+) does not exist")
_SCHEMA = "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"
_declared: dict[str, object] = {}  # the Library objects have to stay alive


def repair() -> tuple[str, ...]:
    """Import torchvision, declaring operators that its wheel lacks; returns their names (empty on a healthy pair)."""
    while "torchvision" not in sys.modules:
        try:
            importlib.import_module("torchvision")
        except RuntimeError as e:
            missing = _MISSING.search(str(e))
            if not missing or missing[1] in _declared:
                raise
            for name in [m for m in sys.modules if m == "torchvision" or m.startswith("torchvision.")]:
                del sys.modules[name]
            import torch

            library = torch.library.Library("torchvision", "FRAGMENT")
            library.define(missing[1] + _SCHEMA)
            _declared[missing[1]] = library
    return tuple(_declared)


def import_repaired(name: str) -> ModuleType:
    """Import a module that itself imports torchvision (timm, torchmetrics), after the repair."""
    repair()
    return importlib.import_module(name)
