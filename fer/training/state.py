"""What a run keeps to go on after an interrupt: one file, replaced again and again, gone at the end."""

from __future__ import annotations

import io
import pickle
import zipfile
from pathlib import Path
from typing import Any

import torch

from fer import checkpoint
from fer.errors import CheckpointError
from fer.training.job import is_finished

STATE = "state.pt"

# seconds between two writings: a state of hundreds of megabytes, synced to the disk, takes as long as a short epoch
EVERY_S = 30.0


def random_state(device: torch.device) -> dict[str, torch.Tensor]:
    """Where the random numbers of dropout stand in this process, by kind of device."""
    state = {"cpu": torch.get_rng_state()}
    if device.type == "cuda":
        state["cuda"] = torch.cuda.get_rng_state(device)
    elif device.type == "mps":
        state["mps"] = torch.mps.get_rng_state()
    return state


def set_random_state(state: dict[str, torch.Tensor], device: torch.device) -> None:
    """Inverse of `random_state`; what was kept of another kind of device is left alone."""
    torch.set_rng_state(state["cpu"])
    if device.type == "cuda" and "cuda" in state:
        torch.cuda.set_rng_state(state["cuda"], device)
    elif device.type == "mps" and "mps" in state:
        torch.mps.set_rng_state(state["mps"])


def write(run: Path, state: dict[str, Any]) -> None:
    """Replace the state in one piece. Tensors, numbers, text and plain containers only: it is read without pickle."""
    buffer = io.BytesIO()
    torch.save(state, buffer)
    checkpoint.write_atomic(run / STATE, buffer.getvalue())


def read(run: Path) -> dict[str, Any] | None:
    """The state that was written last, or None when the run was cut before its first epoch ended.

    Raises:
        CheckpointError: the run is finished, or the file is damaged or from another version.
    """
    file = run / STATE
    if is_finished(run):
        raise CheckpointError(f"{run} is finished: there is nothing to resume")
    if not file.is_file():
        return None
    if not zipfile.is_zipfile(file):
        raise CheckpointError(f"{file}: damaged resume state (not a file that torch wrote); start the run anew")
    try:
        state = torch.load(file, map_location="cpu", weights_only=True)
    except (RuntimeError, EOFError, KeyError, zipfile.BadZipFile, pickle.UnpicklingError) as e:
        raise CheckpointError(f"{file}: damaged resume state ({e}); start the run anew") from e
    if not {"stepper", "first", "random"} <= set(state):
        raise CheckpointError(f"{file}: written by another version of this project; start the run anew")
    return state
