"""Claim against flow: what a charger says of each setpoint, beside what its pilot and power did."""
