"""Several serving processes on one address: `serve --workers N`.

Theory of operation: this process reserves the port by binding a socket with SO_REUSEPORT, and never listens on it, so
the kernel gives it no connections. It forks the serving processes, each of which listens on the same port by itself;
the kernel spreads connections over them. They share the store and the mirrors, whose locks are made for that, and each
gets its part of the builds that may run at once. Signals are passed on: SIGTERM and SIGINT end all of them, a second
one at once; SIGHUP reads the configuration again in each. One that dies is started anew after a second, the others go
on meanwhile; if one cannot even start, all of it ends.

If we crash here: the serving processes are told by the kernel (PR_SET_PDEATHSIG), and end as by SIGTERM.
"""

from __future__ import annotations

import os
import signal
import socket
import time
from collections.abc import Callable

import structlog

from vcsproxy import errors, logs, server
from vcsproxy.config import Settings
from vcsproxy.config.values import split_address
from vcsproxy.live import ReadSettings
from vcsproxy.process import PR_SET_PDEATHSIG, prctl

log = structlog.get_logger()

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGCHLD)
_PAUSE = 1.0  # seconds before one that died is started anew
_YOUNG = 3.0  # seconds: one that ends by itself so soon could not start


def main(settings: Settings, read: ReadSettings) -> int:
    """Serve until a signal comes; the process's exit code. `read` as in `server.main`."""
    if settings.server.workers == 1:
        return server.main(settings, read)
    logs.configure(settings.log.format, settings.log.level)
    try:
        reserved = _reserved(settings)
    except OSError as err:
        hint = "choose another address with server.listen or --listen"
        log.error("cannot start", reason=f"cannot listen on {settings.server.listen}: {err.strerror}", hint=hint)
        return 1
    with reserved:
        address = reserved.getsockname()

        def one(whole: Settings) -> Settings:
            return part_of(whole, *address[:2])

        return _Crew(settings.server.workers, lambda: server.main(one(settings), lambda: one(read()))).run()


def part_of(settings: Settings, host: str, port: int) -> Settings:
    """The settings of one of the serving processes, which listen on this address together."""
    shown = f"[{host}]" if ":" in host else host
    limits, number = settings.limits, settings.server.workers
    share = {"workers": -(-limits.workers // number), "per_host": -(-limits.per_host // number)}
    return settings.model_copy(
        update={
            "server": settings.server.model_copy(update={"listen": f"{shown}:{port}"}),
            "limits": limits.model_copy(update=share),
        }
    )


def _reserved(settings: Settings) -> socket.socket:
    """A socket that holds the port, and on which nobody listens. Raises OSError."""
    host, port = split_address(settings.server.listen)
    family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    held = socket.socket(family, kind, protocol)
    try:
        held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        held.bind(address)
    except BaseException:
        held.close()
        raise
    return held


class _Crew:
    """The serving processes: starts them, passes signals on, waits for all."""

    def __init__(self, number: int, serve: Callable[[], int]) -> None:
        self._number = number
        self._serve = serve
        self._began: dict[int, float] = {}  # pid -> when it was started
        self._ending = 0  # how often somebody asked for the end
        self._code = 0

    def run(self) -> int:
        """Until the last of them has ended."""
        signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
        for _ in range(self._number):
            self._start()
        while self._began:
            number = signal.sigwait(_SIGNALS)
            if number == signal.SIGCHLD:
                self._reap()
            else:
                self._pass_on(number)
        return self._code

    def _start(self) -> None:
        pid = os.fork()
        if pid == 0:
            self._become_one()
        self._began[pid] = time.monotonic()

    def _become_one(self) -> None:
        """The life of a serving process; never returns."""
        code = 1
        try:
            os.setpgid(0, 0)  # Ctrl-C is for the supervisor to pass on
            prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)
            code = self._serve()
        finally:
            os._exit(code)

    def _pass_on(self, number: int) -> None:
        if number != signal.SIGHUP:
            self._ending += 1
            number = signal.SIGTERM
        for pid in self._began:
            os.kill(pid, number)

    def _reap(self) -> None:
        while self._began:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid == 0:
                return
            age = time.monotonic() - self._began.pop(pid)
            self._ended(os.waitstatus_to_exitcode(status), age)

    def _ended(self, code: int, age: float) -> None:
        if self._ending:
            self._code = self._code or abs(code)
        elif code == 1 and age < _YOUNG:
            self._code = 1
            self._pass_on(signal.SIGTERM)
        else:
            log.error("serving_process_died", code=code, alarm=True)
            time.sleep(_PAUSE)
            self._start()


def check_platform(settings: Settings) -> None:
    """Raise ConfigError where several processes cannot share an address."""
    if settings.server.workers > 1 and not hasattr(socket, "SO_REUSEPORT"):
        raise errors.ConfigError(["server.workers: this system has no SO_REUSEPORT; set it to 1"])
