"""What runs: the connection, the worker, and the interpreter of agents and steps."""
