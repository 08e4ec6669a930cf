"""Landmark embeddings of openhead: found by detection on renders, then calibrated on photographs."""
