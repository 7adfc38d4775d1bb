"""Runs command lines in a Python without what Python lacks on Windows.

Other libraries are imported before, as those for Linux need what is taken away. What is left
behaves as on Linux: paths, pipes and files in use are not simulated here.
"""

import importlib
import mmap
import os
import pkgutil
import select
import signal
import socket
import sys
import traceback
from typing import Any

# With what they import.
NEEDED = """asyncio faiss filelock multiprocessing.connection numpy onnxruntime pyarrow.ipc sqlite3
    subprocess tempfile""".split()
UNKNOWN = ("fcntl", "grp", "posix", "pty", "pwd", "resource", "syslog", "termios", "tty")
LACKING: dict[Any, str] = {
    os: """fork forkpty register_at_fork geteuid getuid getegid getgid getpgid killpg setsid
        mkfifo mknod chown fchmod fchown lchown nice sched_getaffinity sched_setaffinity sysconf
        pidfd_open posix_fadvise posix_spawn pread pwrite
        O_DIRECTORY O_PATH""",
    signal: """SIGHUP SIGQUIT SIGTSTP SIGCONT SIGSTOP SIGALRM SIGWINCH SIGCHLD SIGUSR1
        SIGUSR2 SIGPIPE setitimer alarm ITIMER_REAL pthread_kill pthread_sigmask sigwait
        siginterrupt pidfd_send_signal SIG_BLOCK SIG_UNBLOCK""",
    socket: "AF_UNIX send_fds recv_fds SO_REUSEPORT",
    select: "poll epoll",
    mmap: "MADV_DONTNEED MADV_RANDOM",
}


def lessen() -> None:
    """Take away what Windows lacks."""
    for name in UNKNOWN:
        sys.modules[name] = None  # type: ignore[assignment]
    for module, names in LACKING.items():
        for name in names.split():
            if hasattr(module, name):
                delattr(module, name)


def main(lines: list[str]) -> None:
    """Import every module of the package, and run each command line; print what each returned."""
    for name in NEEDED:
        importlib.import_module(name)
    lessen()
    import ettin_cli
    from ettin_cli import platforms
    from ettin_cli.__main__ import main as run

    platforms.WINDOWS = True
    for module in pkgutil.walk_packages(ettin_cli.__path__, "ettin_cli."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    for line in lines:
        mode, *words = line.split()
        os.environ["ETTIN_DAEMON"] = mode
        sys.argv = ["ettin", *words]
        code: Any = None
        try:
            run()
        except SystemExit as end:
            code = end.code or 0
        except BaseException:
            traceback.print_exc()
        sys.stdout.write(f"= {code}\n")


if __name__ == "__main__":
    main(sys.argv[1:])
