"""Measuring: steps, clocks and a stop rule in `rounds`; models and devices only in `process`."""
