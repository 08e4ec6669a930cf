"""Photographs and videos of people made into shards of faces: `python -m training.prepare`."""
