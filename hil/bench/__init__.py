"""The live bench: its devices, their drivers by name, and the way to the safe state."""
