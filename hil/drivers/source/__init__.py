"""Sources: what feeds the chargers."""
