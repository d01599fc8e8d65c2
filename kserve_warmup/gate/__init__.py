"""A sidecar that holds a pod's readiness until the server beside it is warm.

For servers whose code cannot be changed: it sends a sample set over the real wire until the latency is steady, and only
then answers 200 on ``/ready``. ``gate`` is the order of events, ``server`` knows the server behind the URL, ``state``
says where things stand, ``pages`` what the gate's own HTTP port answers, ``main`` makes a process of it.
"""
