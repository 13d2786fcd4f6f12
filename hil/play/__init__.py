"""From a scenario to what happens when, and the engine that makes it happen."""
