"""A proxy before PostgreSQL that loses the reply to a COMMIT which took place."""

from __future__ import annotations

import contextlib
import socket
import threading


class CommitProxy:
    """Hands connections on to ``upstream``, a port of this machine.

    Attributes:
        lose: how many COMMITs more are handed on while their reply is not.
        lost: how many replies were lost so far.
        shut: refuse new connections and end those that stand.
    """

    def __init__(self, upstream: int) -> None:
        self.lose = 0
        self.lost = 0
        self._upstream = upstream
        self._shut = False
        self._lock = threading.Lock()
        self._open: set[socket.socket] = set()
        self._listening = self._listen(0)
        self.port = int(self._listening.getsockname()[1])

    @property
    def shut(self) -> bool:
        return self._shut

    @shut.setter
    def shut(self, value: bool) -> None:
        if value and not self._shut:
            self._end(self._listening)  # or the thread in `accept` would take one connection more
            with self._lock:
                ended, self._open = self._open, set()
            for connection in ended:
                self._end(connection)
        elif self._shut and not value:
            self._listening = self._listen(self.port)
        self._shut = value

    def close(self) -> None:
        self.shut = True

    def _listen(self, port: int) -> socket.socket:
        listening = socket.create_server(("127.0.0.1", port))
        threading.Thread(target=self._accept, args=(listening,), daemon=True, name="commit-proxy").start()
        return listening

    def _accept(self, listening: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = listening.accept()
                try:
                    server = socket.create_connection(("127.0.0.1", self._upstream), 5)
                except OSError:
                    client.close()
                    continue
                with self._lock:
                    self._open |= {client, server}
                cut = threading.Event()
                threading.Thread(target=self._questions, args=(client, server, cut), daemon=True).start()
                threading.Thread(target=self._answers, args=(server, client, cut), daemon=True).start()

    def _questions(self, client: socket.socket, server: socket.socket, cut: threading.Event) -> None:
        with contextlib.suppress(OSError):
            while data := client.recv(65536):
                with self._lock:
                    if b"COMMIT" in data and self.lose > 0:
                        self.lose -= 1
                        cut.set()
                server.sendall(data)
        self._end(client, server)

    def _answers(self, server: socket.socket, client: socket.socket, cut: threading.Event) -> None:
        with contextlib.suppress(OSError):
            while data := server.recv(65536):
                if cut.is_set():
                    self.lost += 1  # the server has answered, so the effect has taken place
                    break
                client.sendall(data)
        self._end(client, server)

    def _end(self, *connections: socket.socket) -> None:
        for connection in connections:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
            connection.close()
            with self._lock:
                self._open.discard(connection)
