"""The only modules of `model` that open files."""
