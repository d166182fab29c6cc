"""ngspice: the library, noise paths, transients, stand-alone decks."""
