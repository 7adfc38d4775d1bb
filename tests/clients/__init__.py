"""Programs that call a server with the real clients of other services, each in its environment."""
