"""Runtimes behind one protocol; each file imports its heavy packages only when it is asked for."""
