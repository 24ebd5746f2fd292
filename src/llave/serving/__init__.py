"""``llave serve``: embeddings and search over HTTP, for clients that are not trusted.

A request passes the gates (``gates/``: log, host, key, body size), becomes entries (``schema`` → ``entries``), its
pictures, videos and sounds are fetched and decoded within bounds (``remote``, ``media``), and its items wait in one
queue (``admission``, ``batcher``) for the one thread that runs the model (``engine``).
"""
