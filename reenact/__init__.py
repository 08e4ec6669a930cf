"""A face's expression and jaw, from a video, carried to another face."""
