"""The fork server: a small process that has everything loaded and forks one worker a job.

It is started as `python -m vcsproxy.build.entry FD`; FD is one end of a socket pair, the serving process has the other.
Messages on it are nine bytes, a letter and a job number:

    J n  (to the server, with one file descriptor)  fork a worker for job n; the job is read from the descriptor
    K n  (to the server)                            kill that worker and everything it started
    R 0 0 (from the server, four bytes more)        everything is loaded
    X n s (from the server, four bytes more)        the worker of job n has ended with wait status s

On a job's own descriptor a Job comes in and a Result goes out, each as JSON behind its length. A worker that dies
leaves its descriptor at its end without a Result, which is all the other side has to notice. Other jobs may follow on
the same descriptor, until the other side closes it or the worker has used much of its CPU time; whoever sends them sees
to it that one worker has to do with one repository only.

Theory of operation: the serving process never forks itself (it has threads and sockets) and never parses what a host
sent. Workers are children of this process, so only it can wait for them and kill them without hitting a stranger.

If we crash here: workers and this process die with their parent (PR_SET_PDEATHSIG), and the serving process starts a
new fork server at the next job.
"""

from __future__ import annotations

import array
import contextlib
import gc
import os
import resource
import select
import shutil
import signal
import socket
import struct
import sys
import tempfile
import time
import traceback
from typing import NoReturn

from vcsproxy.build.job import RESULT, TASK, Failed, Limits, Result
from vcsproxy.process import PR_SET_DUMPABLE, PR_SET_NO_NEW_PRIVS, PR_SET_PDEATHSIG, call_it, prctl

MESSAGE = struct.Struct("!cQ")
EXITED = struct.Struct("!cQi")
LENGTH = struct.Struct("!I")
MAX_FRAME = 96 << 20
IDLE = "vcsproxy-idle"  # what a worker without a job is called
_SHARE = 0.1  # of the CPU time of a job: a worker that has used more takes no other


def main(control_fd: int) -> None:
    """Serve until the other end closes the control socket."""
    prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    for ignored in (signal.SIGINT, signal.SIGHUP):
        signal.signal(ignored, signal.SIG_IGN)
    from vcsproxy.build import worker  # noqa: PLC0415 - loads all there is, once, shared by every worker

    worker.rehearse()
    gc.collect()
    gc.freeze()
    ForkServer(socket.socket(fileno=control_fd)).serve()


class ForkServer:
    """The loop of the fork server process."""

    def __init__(self, control: socket.socket) -> None:
        self._control = control
        self._jobs: dict[int, int] = {}  # pid -> job number
        self._wake, wake_write = os.pipe()
        os.set_blocking(self._wake, False)
        os.set_blocking(wake_write, False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(wake_write, warn_on_full_buffer=False)

    def serve(self) -> None:
        self._tell(b"R", 0, 0)
        while True:
            control = self._control.fileno()
            ready, _, _ = select.select([control, self._wake], [], [])
            if self._wake in ready:
                with contextlib.suppress(BlockingIOError):
                    os.read(self._wake, 4096)
                self._reap()
            if control in ready and not self._receive():
                break
        for pid in self._jobs:
            _kill_group(pid)

    def _receive(self) -> bool:
        """Take one message; False at the end of the control socket."""
        fds = array.array("i")
        space = socket.CMSG_SPACE(fds.itemsize)
        try:
            data, ancillary, _, _ = self._control.recvmsg(MESSAGE.size, space)
        except ConnectionResetError:
            return False
        if not data:
            return False
        for _, _, raw in ancillary:
            fds.frombytes(raw[: fds.itemsize])
        while len(data) < MESSAGE.size:
            more = self._control.recv(MESSAGE.size - len(data))
            if not more:
                return False
            data += more
        letter, number = MESSAGE.unpack(data)
        if letter == b"J":
            self._fork(number, fds[0])
        elif letter == b"K":
            for pid, job in self._jobs.items():
                if job == number:
                    _kill_group(pid)
        return True

    def _fork(self, number: int, fd: int) -> None:
        try:
            pid = os.fork()
        except OSError:  # no process or memory to be had: the job's channel closes unanswered
            os.close(fd)
            self._tell(b"X", number, 0)
            return
        if pid == 0:
            self._control.close()
            tempfile.tempdir = _temporary(os.getpid())
            _work(fd)
        os.close(fd)
        self._jobs[pid] = number

    def _reap(self) -> None:
        while self._jobs:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid == 0:
                return
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(pid, signal.SIGKILL)  # a transport's helper process must not outlive its worker
            number = self._jobs.pop(pid)
            shutil.rmtree(_temporary(pid), ignore_errors=True)
            self._tell(b"X", number, status)

    def _tell(self, letter: bytes, number: int, status: int) -> None:
        with contextlib.suppress(ConnectionError):  # the serving process is gone, and so shall we be
            self._control.sendall(EXITED.pack(letter, number, status))


def _temporary(pid: int) -> str:
    """Where a worker has its temporary files; removed after it, however it ends."""
    return os.path.join(tempfile.gettempdir(), f"worker-{pid}")


def _work(fd: int) -> NoReturn:
    """The life of a worker: read jobs, answer them, end. Never returns into the fork server's loop."""
    code = 1
    try:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        os.setsid()
        prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        os.makedirs(tempfile.gettempdir(), 0o700, exist_ok=True)
        call_it(IDLE)
        with socket.socket(fileno=fd) as channel:
            _serve(channel)
        code = 0
    except BaseException as err:
        os.write(2, "".join(traceback.format_exception(err)).encode("utf-8", "replace")[-4000:])
    finally:
        os._exit(code)


def _serve(channel: socket.socket) -> None:
    """Answer jobs until there are no more, or until a good part of the CPU time that one may take is used up."""
    from vcsproxy.build import worker  # noqa: PLC0415 - not loaded by the serving process

    worker.begin()
    confined = False
    while data := read_frame(channel):
        call_it("vcsproxy-job")
        job = TASK.validate_json(data)
        if not confined:
            confine(job.limits)
            confined = True
        signal.setitimer(signal.ITIMER_REAL, job.limits.wall)
        answer = _frame(worker.run(job))
        signal.setitimer(signal.ITIMER_REAL, 0)
        call_it(IDLE)
        channel.sendall(answer)
        if time.process_time() > _SHARE * job.limits.cpu:
            return


def _frame(result: Result) -> bytes:
    data = RESULT.dump_json(result)
    if len(data) > MAX_FRAME:
        data = RESULT.dump_json(Failed("Refused", "the answer is too large"))
    return LENGTH.pack(len(data)) + data


def read_frame(channel: socket.socket) -> bytes:
    """One length-prefixed frame, nothing when the other side goes away. Raises EOFError in the middle of one."""
    first = channel.recv(1)
    if not first:
        return b""
    (size,) = LENGTH.unpack(first + _read_exactly(channel, LENGTH.size - 1))
    return _read_exactly(channel, size)


def _read_exactly(channel: socket.socket, size: int) -> bytes:
    data = bytearray()
    while len(data) < size:
        piece = channel.recv(min(1 << 20, size - len(data)))
        if not piece:
            raise EOFError
        data += piece
    return bytes(data)


def confine(limits: Limits) -> None:
    """Bound this process: memory, CPU, file size, descriptors; no cores, no new privileges."""
    for what, bound in (
        # Private memory is what a hostile pack can blow up; packs are mapped read-only and may be larger.
        (resource.RLIMIT_DATA, limits.memory),
        (resource.RLIMIT_AS, 16 * limits.memory),
        (resource.RLIMIT_FSIZE, limits.file),
        (resource.RLIMIT_NOFILE, 4096),
        (resource.RLIMIT_CORE, 0),
    ):
        _lower(what, bound, bound)
    _lower(resource.RLIMIT_CPU, limits.cpu, limits.cpu + 5)
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # a write past the limit is an OSError instead
    prctl(PR_SET_NO_NEW_PRIVS, 1)
    prctl(PR_SET_DUMPABLE, 0)
    with contextlib.suppress(OSError):
        os.nice(10)


def _lower(what: int, soft: int, hard: int) -> None:
    """Set a limit, within the hard one that the administrator left us."""
    ceiling = resource.getrlimit(what)[1]
    if ceiling != resource.RLIM_INFINITY:
        soft, hard = min(soft, ceiling), min(hard, ceiling)
    resource.setrlimit(what, (soft, hard))


def _kill_group(pid: int) -> None:
    """Kill a worker's whole session; harmless when nothing is left of it."""
    for kill in (os.killpg, os.kill):  # a worker just forked has no session of its own yet
        with contextlib.suppress(ProcessLookupError, PermissionError):
            kill(pid, signal.SIGKILL)


if __name__ == "__main__":
    main(int(sys.argv[1]))
