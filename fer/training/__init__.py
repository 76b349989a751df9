"""Recipe -> checkpoint."""

from fer.training.loop import Job, train
from fer.training.recipes import resolve

__all__ = ["Job", "resolve", "train"]
