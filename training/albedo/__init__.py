"""The albedo of the shipped head learned from photographs: `python -m training.albedo`."""
