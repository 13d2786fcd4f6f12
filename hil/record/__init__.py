"""The run folder, the wall between the live side and the offline side."""
