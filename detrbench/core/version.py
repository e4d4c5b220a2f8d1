"""The version, of which the package, every report and the build tell."""

__version__ = "0.1.0"
