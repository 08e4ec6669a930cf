"""A track in other programs' formats, one file per format; `tracker.export.command` is `decatrack export`."""
