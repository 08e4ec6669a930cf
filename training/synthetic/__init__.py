"""Faces rendered with openhead whose codes are known exactly: `python -m training.synthetic`."""
