"""Rasterisers: triangles on the screen to `Fragments`; one file per implementation."""
