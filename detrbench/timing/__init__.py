"""Measuring: steps, clocks and a stop rule in `session`; models and devices only in `process`."""
