"""ngspice: the library, noise paths, transient runs in worker processes, stand-alone decks."""
