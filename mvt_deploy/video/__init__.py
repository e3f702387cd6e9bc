"""Frames in, tracks out: sources, sinks, what is drawn, and the threads between them."""
