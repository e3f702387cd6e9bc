"""The tracker as a web page: ``page/`` is what a browser loads, :mod:`.site` makes a site of it and a bundle."""

from .runtime import PACKAGE, VERSION, Runtime, find_runtime
from .site import Part, write_site

__all__ = ["PACKAGE", "VERSION", "Part", "Runtime", "find_runtime", "write_site"]
