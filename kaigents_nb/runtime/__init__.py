"""What runs: the embedded server, the connection, the worker, and the interpreter of agents and steps."""
