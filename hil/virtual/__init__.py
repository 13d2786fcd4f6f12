"""The virtual lab: one physics, and a twin on the wire for each driver."""
