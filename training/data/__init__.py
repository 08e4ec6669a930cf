"""Shards of faces, and the batches that are made of them."""
