"""Video to `Track`: detect, associate, fit, smooth. See docs/architecture.md for the flow of a frame."""
