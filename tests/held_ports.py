"""Ports for servers, which nobody else is given until this process ends."""

import socket

_HELD = []


def free_ports(count):
    """Return ports of 127.0.0.1, each another one, that the kernel gives to nobody who asks for a free one.

    Servers take seconds until they bind, and tests run side by side: a port that is merely free by then belongs to
    another test. One that is bound and not listened at stays free for whoever names it and shares its port, as servers
    do (SO_REUSEADDR, SO_REUSEPORT), and refuses connections meanwhile.
    """
    held = [socket.socket() for _ in range(count)]
    for one in held:
        one.bind(("127.0.0.1", 0))
        # only now: who shares from the beginning may be given a port that others hold
        one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    _HELD.extend(held)
    return [one.getsockname()[1] for one in held]
