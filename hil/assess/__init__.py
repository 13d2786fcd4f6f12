"""From a run folder to its result: pure functions, no bench needed."""
