"""Which prompts does a checkpoint know by heart? Detectors that need neither images nor training data."""
