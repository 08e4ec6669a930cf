"""The three stages of DECA's training: which networks learn, and from which losses."""

from training.stages.build import build_stage

__all__ = ["build_stage"]
