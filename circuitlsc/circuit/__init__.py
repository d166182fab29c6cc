"""The circuit: cells, signal-flow graph, systems, twin, netlist and its electrical rules."""
