"""Chains as tasks: their journals and stores, worker processes, executors, and the simulator that runs them."""
