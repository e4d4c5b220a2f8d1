"""Why: what a device does at best, what binds each part of a model, what another would take."""
