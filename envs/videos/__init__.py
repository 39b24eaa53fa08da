"""Video files: their index, exact decoding, resizing, and the cache of what was decoded."""
