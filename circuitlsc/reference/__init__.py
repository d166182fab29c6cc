"""What is true: exact samplers and closed forms, the software SDE, the trapezoid on the circuit's own noise."""
