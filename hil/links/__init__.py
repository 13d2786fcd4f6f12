"""The wires: the only importers of the protocol libraries on the live side."""
