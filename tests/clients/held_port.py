"""Ports of 127.0.0.1 for servers that can't be told to choose."""
import socket


class HeldPort:
    """While it is open, the system gives that port to nobody who asks for any; who asks for this one gets it, and again after its end,
    if it sets SO_REUSEADDR, as servers do."""

    def __init__(self):
        self._socket = socket.socket()
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._socket.bind(("127.0.0.1", 0))
        self.number = self._socket.getsockname()[1]

    def close(self):
        self._socket.close()
