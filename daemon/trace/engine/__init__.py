"""Runs the scripts of a jump page in a JavaScript engine, in a process of its own for each page."""
