"""Many circuits: error budget, lots of chips, energy, design rules, friction."""
