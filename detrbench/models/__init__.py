"""From a name to a model: the files, the blocks, the builder."""
