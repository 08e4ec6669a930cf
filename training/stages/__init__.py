"""The three stages of DECA's training: which networks learn, and from which losses."""
