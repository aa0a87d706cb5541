"""A secret for a program that can only be told by running a command: a named pipe that gives it to whoever opens it.

The secret is in no argument, no variable and no file: it passes through the kernel from this process to the reader.

Theory of operation: a thread waits for a reader, puts a new pipe in the place of the one that has been opened, writes
and closes. So every reader gets the text once, and its end. The pipe lies in a directory that only this user can enter.
"""

from __future__ import annotations

import contextlib
import os
import threading

from vcsproxy import errors
from vcsproxy.build.job import Access


class SecretPipe:
    """Gives `text` to every reader of `path` until it is closed."""

    def __init__(self, path: str, text: str) -> None:
        self.path = path
        self._text = text.encode("utf-8", "surrogateescape")
        self._closed = False
        os.mkfifo(path, 0o600)
        self._thread = threading.Thread(target=self._serve, name="secret", daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        while not self._closed:
            try:
                fd = os.open(self.path, os.O_WRONLY | os.O_CLOEXEC)  # waits for a reader
            except OSError:
                return  # the directory is gone
            try:
                self._renew()
                if not self._closed:
                    os.write(fd, self._text)
            except OSError:
                pass  # the reader went away
            finally:
                os.close(fd)

    def _renew(self) -> None:
        os.mkfifo(self.path + ".next", 0o600)
        os.replace(self.path + ".next", self.path)

    def close(self) -> None:
        """Stop, and forget the text."""
        self._closed = True
        while self._thread.is_alive():
            with contextlib.suppress(OSError):
                os.close(os.open(self.path, os.O_RDONLY | os.O_NONBLOCK))  # wakes the thread
            self._thread.join(0.05)
        self._text = b""


def answer(access: Access) -> str:
    """What a credential helper says for a credential. Raises Unavailable for one that it cannot say.

    Source: git-credential(1), "INPUT/OUTPUT FORMAT".
    """
    secret = access.secret.reveal()
    if any(c in text for c in "\n\0" for text in (access.user, secret)):
        raise errors.Unavailable(f"git cannot be given the credential {access.name}: it has a line break in it")
    if access.kind == "bearer":
        return f"capability[]=authtype\nauthtype=Bearer\ncredential={secret}\n"
    return f"username={access.user}\npassword={secret}\n"
