"""Recipe -> checkpoint."""

from fer.training.job import Job
from fer.training.loop import train
from fer.training.recipes import resolve

__all__ = ["Job", "resolve", "train"]
