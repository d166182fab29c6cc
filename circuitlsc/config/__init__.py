"""The config file: its keys, their checks, and the tables that it is written as."""
