"""Recipe -> checkpoint."""

from fer.training.loop import Job, pick_device, train
from fer.training.recipes import resolve

__all__ = ["Job", "pick_device", "resolve", "train"]
