"""Floor 0: records, units, log-space mathematics, random streams. Imports numpy and scipy only."""
