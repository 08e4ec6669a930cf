"""Files of older schemas, and of other tools, to tracks of this version."""
