"""Use trained networks: read images, predict, evaluate, write weights. `ff` and the Python API share it."""
