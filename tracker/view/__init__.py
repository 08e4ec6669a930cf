"""`decatrack view`: a track on a web page."""
