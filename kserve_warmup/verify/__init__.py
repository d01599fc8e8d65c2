"""Is a server as fast for its first users as for later ones? Measured from outside, on fresh starts.

``servers`` starts them, ``run`` sends the requests, ``judge`` says what the figures prove, ``result`` holds them and
``junit`` writes them for a build server. How a request is measured is said in ``kserve_warmup.latency``.
"""
