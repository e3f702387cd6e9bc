"""A bundle for apps: what ONNX Runtime on Android and iOS loads, and what an app's author needs to know and test."""

from .package import ModelPair, write_package

__all__ = ["ModelPair", "write_package"]
