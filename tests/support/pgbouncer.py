"""A real PgBouncer before the tests' PostgreSQL, on a free port of 127.0.0.1."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg

from tests.support.parts import need
from tests.support.postgres import PostgresCluster, free_port, make_folder
from tests.support.postgres_keeper import system_user

SETTINGS = """
[databases]
* = host=127.0.0.1 port={behind} user=postgres
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = any
logfile = pgbouncer.log
pool_mode = {mode}
{more}
"""


@contextmanager
def running_pgbouncer(cluster: PostgresCluster, mode: str, more: str) -> Iterator[PostgresCluster]:
    """The same cluster by way of a pooler in this *mode*; *more* are lines of its settings."""
    program, folder, port, user = need("PgBouncer"), make_folder(), free_port(), system_user()
    settings = folder / "pgbouncer.ini"
    settings.write_text(SETTINGS.format(behind=cluster.port, port=port, mode=mode, more=more))
    command = [str(program), "--quiet", str(settings)]
    pooled = PostgresCluster(port, cluster.programs, folder)
    with subprocess.Popen(command, cwd=folder, user=user, group=user, stdout=subprocess.DEVNULL) as process:
        try:
            _wait_until_it_answers(pooled, process)
            yield pooled
        finally:
            process.kill()


def _wait_until_it_answers(pooled: PostgresCluster, process: "subprocess.Popen[bytes]") -> None:
    while process.poll() is None:
        try:
            psycopg.connect(pooled.url("postgres")).close()
        except psycopg.OperationalError:
            continue
        return
    raise RuntimeError((pooled.folder / "pgbouncer.log").read_text(encoding="utf-8"))
