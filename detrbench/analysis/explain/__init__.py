"""Why a model is faster than another, or is not: its parts against the device's ceilings."""
