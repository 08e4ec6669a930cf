"""Networks that judge and do not learn: who a face is, what a texture is like. Their weights are read from files."""
