"""TensorRT: building engines from a bundle's graphs, storing them, and running them on a GPU."""
