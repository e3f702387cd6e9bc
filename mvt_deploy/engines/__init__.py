"""TensorRT engines: how they are built, kept beside a bundle's graphs, found again and run."""
