"""Training of the face-parsing network: ``python -m training.parsing``, see docs/parsing.md."""
