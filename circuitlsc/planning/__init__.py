"""What follows from the model before anything is compiled: scales, width, step, form, length of a run."""
