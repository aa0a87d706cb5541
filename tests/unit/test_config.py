"""Configuration: what it means, and that all faults come at once."""

from __future__ import annotations

import datetime as dt
from dataclasses import fields
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from vcsproxy import config, live
from vcsproxy.build import job
from vcsproxy.config import tables, values
from vcsproxy.errors import ConfigError


@pytest.fixture(autouse=True)
def _no_ambient_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(config.VARIABLE, raising=False)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "share"))
    (tmp_path / "cwd").mkdir()
    monkeypatch.chdir(tmp_path / "cwd")


def write(tmp_path: Path, text: str) -> Path:
    file = tmp_path / "some.toml"
    file.write_text(text)
    return file


def faults(tmp_path: Path, text: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        config.load(write(tmp_path, text))
    return list(caught.value.faults)


def one_fault(tmp_path: Path, text: str) -> str:
    found = faults(tmp_path, text)
    assert len(found) == 1, found
    return found[0]


# --- without a file ---


def test_the_defaults_serve_public_modules_on_loopback(tmp_path: Path) -> None:
    settings = config.load()
    assert settings.server.address == ("127.0.0.1", 3000)
    assert settings.server.data == tmp_path / "share" / "vcsproxy"
    assert settings.server.shutdown_seconds == 30
    assert (settings.source, settings.host) == ((), ())
    assert (settings.limits.workers, settings.limits.per_host, settings.limits.queue) == (16, 4, 256)
    assert (settings.freshness.refs, settings.freshness.negative) == (60, 10)
    assert settings.go.refuse_newer_than == ""
    assert live.job_limits(settings) == job.Limits()


def test_settings_do_not_change() -> None:
    settings = config.load()
    with pytest.raises(ValueError, match="frozen"):
        settings.server.listen = "0.0.0.0:1"  # type: ignore[misc]


def test_the_file_is_looked_for_in_the_variable_then_here_then_at_the_user_s(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def put(file: Path, port: int) -> None:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f'[server]\nlisten = "127.0.0.1:{port}"\n')

    put(tmp_path / "config" / "vcsproxy" / "vcsproxy.toml", 3)
    assert config.load().server.address[1] == 3
    put(Path("vcsproxy.toml"), 2)
    assert config.load().server.address[1] == 2
    put(tmp_path / "named.toml", 1)
    monkeypatch.setenv(config.VARIABLE, str(tmp_path / "named.toml"))
    assert config.load().server.address[1] == 1


def test_a_file_that_the_variable_names_must_be_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(config.VARIABLE, "/nowhere/x.toml")
    with pytest.raises(ConfigError, match=r"/nowhere/x\.toml: No such file"):
        config.load()


# --- values ---


def test_every_table_is_read(tmp_path: Path, test_ca: Path) -> None:
    settings = config.load(
        write(
            tmp_path,
            f"""
            [server]
            listen = "[::1]:0"
            data = "data"
            shutdown_seconds = "1m"

            [[source]]
            root = "github.com/{{owner}}/{{repo}}"
            url = "file:///srv/git/{{owner}}+{{repo}}/repo"
            origin = "https://github.com/{{owner}}/{{repo}}"

            [[source]]
            root = "git.corp.example/{{repo}}"
            url = "git@git.corp.example:all/{{repo}}.git"
            subdir = "go"

            [[host]]
            name = "git.corp.example"
            connect = "127.0.0.1:8443"
            ca = "{test_ca.name}"

            [limits]
            wall = "2m30s"
            cpu = 1.2
            memory = "2GiB"
            pack = "1 GB"
            page = 4096
            objects = 5
            workers = 3
            queue = 0

            [freshness]
            refs = "500ms"
            negative = 0

            [go]
            refuse_newer_than = "1.27.3"

            [log]
            format = "json"
            level = "debug"
            """,
        )
    )
    assert settings.server.address == ("::1", 0)
    assert settings.server.data == tmp_path / "data"
    assert settings.server.shutdown_seconds == 60
    assert [source.rule().root for source in settings.source] == [
        "github.com/{owner}/{repo}",
        "git.corp.example/{repo}",
    ]
    assert live.job_hosts(settings, {}) == (
        job.Host(
            "git.corp.example",
            "127.0.0.1:8443",
            str(tmp_path / test_ca.name),
            known_hosts=str(tmp_path / "data" / "known_hosts"),
        ),
    )
    limits = live.job_limits(settings)
    assert (limits.wall, limits.cpu, limits.memory, limits.pack) == (150, 2, 2 << 30, 10**9)
    assert (limits.page, limits.objects, limits.idle) == (4096, 5, job.Limits().idle)
    assert (settings.limits.workers, settings.limits.queue) == (3, 0)
    assert (settings.freshness.refs, settings.freshness.negative) == (0.5, 0)
    assert (settings.go.refuse_newer_than, settings.log.format, settings.log.level) == ("1.27.3", "json", "debug")


@pytest.fixture
def test_ca(tmp_path: Path) -> Path:
    """A self-signed certificate."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "test")])
    start = dt.datetime(2024, 1, 1, tzinfo=dt.UTC)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), 1, start, start + dt.timedelta(days=9999))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    file = tmp_path / "ca.pem"
    file.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    return file


def test_every_budget_of_a_job_can_be_set() -> None:
    assert set(tables.Limits.model_fields) == {field.name for field in fields(job.Limits)} | {
        "workers",
        "per_host",
        "queue",
    }


def test_the_command_line_is_stronger_than_the_file(tmp_path: Path) -> None:
    file = write(tmp_path, '[server]\nlisten = "127.0.0.1:1"\nshutdown_seconds = 5\ndata = "/file"\n')
    settings = config.load(file, {"server": {"listen": "127.0.0.1:2", "data": "here"}})
    assert (settings.server.listen, settings.server.shutdown_seconds) == ("127.0.0.1:2", 5)
    assert settings.server.data == Path("here").absolute()


@pytest.mark.parametrize(
    ("text", "value"),
    [("7", 7), ("1KiB", 1024), ("2 MB", 2_000_000), ("3gib", 3 << 30), (" 4B ", 4)],
)
def test_sizes(text: str, value: int) -> None:
    assert values.parse_size(text) == value


@pytest.mark.parametrize("text", ["", "-1", "1.5GiB", "1TiBB", "GiB", "1 2", "٣", True, 1.5, None])
def test_no_sizes(text: object) -> None:
    with pytest.raises(ValueError, match="number of bytes"):
        values.parse_size(text)


@pytest.mark.parametrize(("text", "value"), [("90s", 90), ("1m30s", 90), ("1.5h", 5400), ("250ms", 0.25), (3, 3)])
def test_durations(text: object, value: float) -> None:
    assert values.parse_duration(text) == value


@pytest.mark.parametrize("text", ["", "5", "s", "1d", "1s 2", "-1s", True, float("nan"), float("inf"), []])
def test_no_durations(text: object) -> None:
    with pytest.raises(ValueError, match="number of seconds"):
        values.parse_duration(text)


# --- faults ---


def test_all_faults_come_at_once_each_with_its_key_path(tmp_path: Path) -> None:
    found = faults(
        tmp_path,
        """
        sorce = []

        [server]
        listen = "nowhere"
        shutdown_seconds = "soon"

        [[source]]
        root = "a.example/{x}"
        url = "https://a.example/{x}"

        [[source]]
        root = "b.example/{x}/{x}"
        url = "ftp://me:secret@b.example/{y}"
        subdir = "/up"

        [[source]]
        root = "c.example"
        branch = "main"

        [[host]]
        name = "UPPER.example"
        connect = "name:443"
        ca = "missing.pem"

        [limits]
        memory = "lots"
        wall = 0
        refs = "many"
        queue = true

        [log]
        level = "loud"
        """,
    )
    text = "\n".join(found)
    keys = [fault.partition(": ")[0] for fault in found]
    for key in (
        "sorce", "server.shutdown_seconds", "source[1].root", "source[1].url", "source[1].subdir",
        "source[2].url", "source[2].branch", "host[0].name", "host[0].connect", "host[0].ca",
        "limits.memory", "limits.wall", "limits.refs", "limits.queue", "log.level",
    ):  # fmt: skip
        assert key in keys, (key, text)
    assert "secret" not in text.replace("ftp://me:secret@b.example", "")
    assert "source[2].branch: unknown key" in found
    assert "source[2].url: is required" in found
    assert keys.count("source[1].url") == 3  # scheme, password, unknown name
    assert all("\n" not in fault for fault in found)


def test_a_syntax_error_names_file_and_line(tmp_path: Path) -> None:
    fault = one_fault(tmp_path, "[server]\nlisten = \n")
    assert fault.startswith(str(tmp_path / "some.toml"))
    assert "line 2" in fault


def test_a_file_that_is_no_text(tmp_path: Path) -> None:
    (tmp_path / "some.toml").write_bytes(b"a = '\xff'")
    with pytest.raises(ConfigError, match="not UTF-8 at byte 5"):
        config.load(tmp_path / "some.toml")


@pytest.mark.parametrize("name", ["missing.toml", "."])
def test_a_file_that_cannot_be_read(tmp_path: Path, name: str) -> None:
    with pytest.raises(ConfigError, match=r"No such file|Is a directory"):
        config.load(tmp_path / name)


@pytest.mark.parametrize(
    "text",
    ['source = "x"', "source = [1]", "server = 3", "[source]\nroot='x'", "limits = []", "[server]\nlisten = 3",
     "[server]\ninsecure_public = 1", "[limits]\nobjects = 1.0", "[host]\nca = 'x'", "[go]\nrefuse_newer_than = 'v1'"],
)  # fmt: skip
def test_wrong_types(tmp_path: Path, text: str) -> None:
    assert one_fault(tmp_path, text)


@pytest.mark.parametrize("listen", ["0.0.0.0:3000", ":3000", "[::]:3000", "192.0.2.1:80", "example.com:80"])
def test_a_public_address_needs_an_explicit_word(tmp_path: Path, listen: str) -> None:
    assert "can be reached from other machines" in one_fault(tmp_path, f'[server]\nlisten = "{listen}"')
    allowed = config.load(write(tmp_path, f'[server]\nlisten = "{listen}"\ninsecure_public = true'))
    assert allowed.server.listen == listen


@pytest.mark.parametrize("listen", ["127.0.0.1:3000", "127.9.9.9:0", "[::1]:3000", "localhost:65535"])
def test_loopback_addresses(tmp_path: Path, listen: str) -> None:
    assert config.load(write(tmp_path, f'[server]\nlisten = "{listen}"')).server.listen == listen


@pytest.mark.parametrize("listen", ["", "127.0.0.1", "127.0.0.1:", "127.0.0.1:x", "::1:3000", "[::1]", "[x]:1",
                                    "127.0.0.1:65536", "127.0.0.1:-1"])  # fmt: skip
def test_addresses_that_are_none(tmp_path: Path, listen: str) -> None:
    assert one_fault(tmp_path, f'[server]\nlisten = "{listen}"').startswith("server.listen: ")


GOOD_URLS = [
    "https://git.example/{r}.git",
    "https://token@git.example/{r}",
    "http://127.0.0.1:8080/{r}",
    "file:///srv/git/{r}",
    "ssh://git@git.example:2222/{r}",
    "git@git.example:team/{r}.git",
    "git.example:{r}",
]
BAD_URLS = [
    "-oProxyCommand=x",
    "--upload-pack=x",
    "/srv/git/{r}",
    "git://git.example/{r}",
    "ext::sh -c touch",
    "ftp://git.example/{r}",
    "HTTPS://git.example/{r}",
    "https://u:p@git.example/{r}",
    "u:p@git.example:x",
    "https:///{r}",
    "https://-x/{r}",
    "ssh://-oProxyCommand=x/{r}",
    "ssh://-l@host/{r}",
    "file://host/srv/{r}",
    "https://git.example/\\u0007{r}",
    "https://git.example/{r} x",
]


@pytest.mark.parametrize("url", GOOD_URLS)
def test_urls_that_an_operator_may_name(tmp_path: Path, url: str) -> None:
    settings = config.load(write(tmp_path, f'[[source]]\nroot = "a.example/{{r}}"\nurl = "{url}"'))
    assert settings.source[0].url == url


@pytest.mark.parametrize("url", BAD_URLS)
def test_urls_that_nobody_may_name(tmp_path: Path, url: str) -> None:
    found = faults(tmp_path, f'[[source]]\nroot = "a.example/{{r}}"\nurl = "{url}"')
    assert all(fault.startswith("source[0].url: ") for fault in found)


def test_a_host_is_named_once(tmp_path: Path) -> None:
    text = '[[host]]\nname = "a.example"\n[[host]]\nname = "a.example"\n'
    assert one_fault(tmp_path, text) == "host[1].name: a.example is named twice"


def test_a_ca_file_must_hold_certificates(tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_text("no certificate")
    assert "holds no PEM certificates" in one_fault(tmp_path, '[[host]]\nname = "a.example"\nca = "ca.pem"')


def test_a_wrong_key_hides_no_other_fault(tmp_path: Path) -> None:
    """Every fault at once, also in a table where one key alone is wrong already."""
    file = tmp_path / "c.toml"
    file.write_text(
        '[server]\nlisten = "127.0.0.1"\ndata = ""\n'
        '[[source]]\nroot = "github.com/{o}/{r}"\nurl = "ftp://x/{o}/{rep}"\norign = "x"\n'
        '[[source]]\nurl = "https://user:word@x.y/z"\n'
        '[[source]]\nroot = "foo"\nurl = "https://x.y/z"\n'
    )
    with pytest.raises(ConfigError) as caught:
        config.load(file)
    faults = "\n".join(caught.value.faults)
    for part in (
        "server.data", "server.listen", "source[0].orign: unknown key", "source[0].url: scheme 'ftp'", "{rep}",
        "source[1].root: is required", "source[1].url: must not contain a password", "source[2].root",
    ):  # fmt: skip
        assert part in faults, faults
    assert "word@" not in faults


@pytest.mark.parametrize("text", ['[limits]\nmemory = "1"\n', "[limits]\nworkers = 100000\n"])
def test_limits_that_cannot_work_are_faults(text: str, tmp_path: Path) -> None:
    file = tmp_path / "c.toml"
    file.write_text(text)
    with pytest.raises(ConfigError):
        config.load(file)


def test_a_root_that_comes_twice_is_a_fault(tmp_path: Path) -> None:
    file = tmp_path / "c.toml"
    file.write_text('[[source]]\nroot = "a.b/c"\nurl = "https://x.y/z"\n' * 2)
    with pytest.raises(ConfigError, match="named twice"):
        config.load(file)
