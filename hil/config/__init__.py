"""What users write: benches, scenarios, limits, profiles and personalities, checked."""
