"""VACASK: a second simulator, which shares no line with ngspice; its programs, decks and transients."""
