"""The model: dictionary, priors and their tables, dynamics, data sets, streams of inputs."""
