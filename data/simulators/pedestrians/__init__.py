"""The `pedestrians` simulation: pedestrians drawn by code, in colour, near-infrared and heat."""
