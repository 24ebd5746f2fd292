"""What a request passes before its route, as plain ASGI: the log, the host, the key, the size of the body."""
