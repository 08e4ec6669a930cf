"""Detectors: a picture to `Detection` records; one file per backend."""
