"""goimport: what a go-import page says, read with Go's lenient XML rules."""

from __future__ import annotations

import contextlib
import time

import pytest

from vcsproxy.errors import NotFound
from vcsproxy.mod.goimport import GoImportError, MetaImport, check_root, match, parse_meta

TAG = '<meta name="go-import" content="a.com/x git https://git.a.com/x">'
WANT = (MetaImport("a.com/x", "git", "https://git.a.com/x"),)


def tag(content: str) -> str:
    return f'<meta name="go-import" content="{content}">'


def read(text: str) -> tuple[MetaImport, ...]:
    return parse_meta(text.encode("utf-8", "surrogateescape"))


# --- reading pages ---


@pytest.mark.parametrize(
    "page",
    [
        f"<!DOCTYPE html><html><head>{TAG}</head><body></body></html>",
        '<META NAME="go-import" CONTENT="a.com/x git https://git.a.com/x">',
        '<meta name=go-import content="a.com/x git https://git.a.com/x">',
        "<meta name='go-import' content='a.com/x git https://git.a.com/x'/>",
        '<meta content="a.com/x git https://git.a.com/x" name="go-import" />',
        '<meta name="go-import" content="\n a.com/x\tgit\r\n https://git.a.com/x ">',
        '<meta name="go-import" content="a.com/x git https:&#47;&#x2f;git.a.com/x">',
        '<meta name="go-import" content="a.com/x\u00a0git\u2003https://git.a.com/x">',
        '<x:meta y:name="go-import" z:content="a.com/x git https://git.a.com/x">',
        f"&nbsp; &copy; a && b & c;{TAG}",
        f"<title>a &lt; b</title><script>x > 1</script>{TAG}",
        f"<![CDATA[ a < b ]]>{TAG}",
        f"<!-- ok -->{TAG}<title>a < c</title>",
        f"{TAG}<body>{tag('a.com/y git https://y')}",
        f"{TAG}</HEAD >{tag('a.com/y git https://y')}",
        f"{TAG}\x00",
        f"{TAG}\udcff",
        f'<?xml version="1.0" encoding="ASCII"?>{TAG}',
        f"<!DOCTYPE x [ <!ENTITY a '>'> <!-- ' > --> ]>{TAG}",
    ],
)
def test_a_tag_is_found(page: str) -> None:
    assert read(page) == WANT


@pytest.mark.parametrize(
    "page",
    [
        "",
        "plain text",
        '<meta name="GO-IMPORT" content="a.com/x git https://git.a.com/x">',
        '<meta name="go-imports" content="a.com/x git https://git.a.com/x">',
        '<meta property="go-import" content="a.com/x git https://git.a.com/x">',
        tag("a.com/x git"),
        tag("a.com/x git https://a b c"),
        tag("a.com/x\x7fgit\x7fhttps://a"),
        f"<body>{TAG}",
        f"<head></HEAD>{TAG}",
        f"<head/>{TAG}",
        f"<!-- {TAG} -->",
        '<meta name="x" name="go-import" content="a.com/x git https://git.a.com/x">',
    ],
)
def test_no_tag_and_no_error(page: str) -> None:
    assert read(page) == ()


@pytest.mark.parametrize(
    ("start", "message"),
    [
        ("<script>if (a<b && c) {}</script>", "XML syntax error on line 1: expected attribute name in element"),
        ("<title>a < c</title>", "XML syntax error on line 1: expected element name after <"),
        ("\n<!-- a -- b -->", 'XML syntax error on line 2: invalid sequence "--" not allowed in comments'),
        ("\udcff", "XML syntax error on line 1: invalid UTF-8"),
        ("\x01", "XML syntax error on line 1: illegal character code U+0001"),
        ("]]>", "XML syntax error on line 1: unescaped ]]> not in CDATA section"),
        ('<p a="<">', "XML syntax error on line 1: unescaped < inside quoted string"),
        ("<p a=/x>", "XML syntax error on line 1: expected /> in element"),
        ("<p a=x.y>", "XML syntax error on line 1: invalid XML name: .y"),
        ("<1>", "XML syntax error on line 1: invalid XML name: 1"),
        ("</p x>", "XML syntax error on line 1: invalid characters between </p and >"),
        ("<![cdata[x]]>", "XML syntax error on line 1: invalid <![ sequence"),
        ("<!-x>", "XML syntax error on line 1: invalid sequence <!- not part of <!--"),
        ("<a:b:c>", "XML syntax error on line 1: expected element name after <"),
        ('<?xml encoding="ISO-8859-1"?>', 'can\'t decode XML document using charset "ISO-8859-1"'),
        ('<?xml version="1.1"?>', 'xml: unsupported version "1.1"; only version 1.0 is supported'),
        ("<![CDATA[", "XML syntax error on line 1: unexpected EOF in CDATA section"),
    ],
)
def test_a_fault_before_the_tag_is_an_error_and_behind_it_is_none(start: str, message: str) -> None:
    with pytest.raises(GoImportError) as caught:
        read(start + TAG)
    assert str(caught.value).endswith(message)
    assert read(TAG + start) == WANT


@pytest.mark.parametrize("end", ["<", "<p", "<p a", "<p a=", "<p a='x", "&amp", "&#1", "<?x", "<!--", "<!x", "</p"])
def test_a_page_cut_short(end: str) -> None:
    with pytest.raises(GoImportError, match="unexpected EOF"):
        read("<p>" + end)
    assert read(TAG + end) == WANT


def test_attribute_values_without_a_value_are_their_name() -> None:
    assert read('<meta go-import content="a b c" name>') == ()
    assert read("<meta name=go-import content>") == ()


def test_a_fourth_field_is_the_directory() -> None:
    assert read(tag("a.com/x git https://r sub/dir")) == (MetaImport("a.com/x", "git", "https://r", "sub/dir"),)


def test_mod_tags_come_first_and_supersede_their_prefix() -> None:
    page = tag("a.com/x git https://g") + tag("a.com/y git https://y") + tag("a.com/x mod https://p")
    assert read(page) == (MetaImport("a.com/x", "mod", "https://p"), MetaImport("a.com/y", "git", "https://y"))


def test_errors_can_be_encoded() -> None:
    with pytest.raises(GoImportError) as caught:
        read("<p \udcff>")
    str(caught.value).encode()


@pytest.mark.parametrize(
    "piece",
    ["<", "&", "a", "<a>", "<a b ", "<!", "<!<", "<'", "]]", "<!--", "&#1", "\n", "<?xml version=", "a:", "&lt;"],
)
def test_hostile_pages_take_linear_time(piece: str) -> None:
    begun = time.process_time()
    for start in ("", "<p ", "<p a='", "<!", "<![CDATA[", "<?xml ", "<"):
        with contextlib.suppress(GoImportError):
            read(start + piece * (200_000 // len(piece)))
    assert time.process_time() - begun < 10


# --- choosing ---


def test_the_tag_that_fits_is_chosen() -> None:
    x, y = MetaImport("a.com/x", "git", "https://x"), MetaImport("a.com/xy", "git", "https://y")
    assert match((x, y), "a.com/x") == match((y, x), "a.com/x/sub") == x


def test_no_tag_fits() -> None:
    with pytest.raises(GoImportError) as caught:
        match((MetaImport("a.com/y", "git", "https://y"),), "a.com/x")
    assert str(caught.value) == "no go-import meta tags (meta tag a.com/y did not match import path a.com/x)"
    with pytest.raises(GoImportError, match=r"^no go-import meta tags \(\)$"):
        match((), "a.com/x")
    with pytest.raises(GoImportError, match=r"and 95 more\)$"):
        match([MetaImport("a.com/y", "git", "https://y")] * 100, "a.com/x")


def test_several_tags_fit() -> None:
    git = MetaImport("a.com/x", "git", "https://x")
    outer = MetaImport("a.com", "git", "https://a")
    mod = MetaImport("a.com", "mod", "https://p")
    with pytest.raises(GoImportError, match=r'multiple meta tags match import path "a\.com/x"'):
        match((git, outer), "a.com/x")
    with pytest.raises(GoImportError, match="multiple meta tags"):
        match((mod, mod, git), "a.com/x")
    assert match((mod, git), "a.com/x") == mod


# --- using ---


@pytest.mark.parametrize(
    "url", ["https://h/x", "http://h/x", "ssh://git@h:22/x", "git+ssh://h/x", "HTTPS://h", "host:x"]
)
def test_urls_that_go_takes(url: str) -> None:
    check_root(MetaImport("a.com/x", "git", url))
    check_root(MetaImport("a.com/x", "mod", url, "ignored/dir"))


@pytest.mark.parametrize(
    ("url", "fault"),
    [
        ("host/path", "no scheme"),
        ("//host/path", "no scheme"),
        ("file:///srv/x", "file scheme disallowed"),
        ("FILE:///srv/x", "file scheme disallowed"),
        ("git@host:x", 'parse "git@host:x": first path segment in URL cannot contain colon'),
        (":x", 'parse ":x": missing protocol scheme'),
        ("https://h:x/", 'parse "https://h:x/": invalid port ":x" after host'),
        ("https://h/%zz", 'parse "https://h/%zz": invalid URL escape "%zz"'),
        ("https://h/#%z", 'parse "https://h/#%z": invalid URL escape "%z"'),
        ("https://h\\x/", 'parse "https://h\\\\x/": invalid character "\\\\" in host name'),
        ("https://h%41/", 'parse "https://h%41/": invalid URL escape "%41"'),
        ("https://[::1/", "parse \"https://[::1/\": missing ']' in host"),
        ('https://a"b@h/', 'parse "https://a\\"b@h/": net/url: invalid userinfo'),
        ("https://h/\x7f", 'parse "https://h/\\x7f": net/url: invalid control character in URL'),
    ],
)
def test_urls_that_go_refuses(url: str, fault: str) -> None:
    quoted = url.replace("\\", "\\\\").replace('"', '\\"').replace("\x7f", "\\x7f")
    with pytest.raises(GoImportError) as caught:
        check_root(MetaImport("a.com/x", "git", url))
    assert str(caught.value) == f'invalid repo root "{quoted}": {fault}'


def test_directories_that_go_refuses() -> None:
    with pytest.raises(GoImportError, match='invalid subdirectory "/sub": leading slash'):
        check_root(MetaImport("a.com/x", "git", "https://h", "/sub"))
    with pytest.raises(GoImportError, match='invalid subdirectory "-sub": leading hyphen'):
        check_root(MetaImport("a.com/x", "git", "https://h", "-sub"))
    check_root(MetaImport("a.com/x", "git", "https://h", "sub/../-x"))


def test_systems_other_than_git() -> None:
    with pytest.raises(GoImportError, match='unknown vcs "bzr"'):
        check_root(MetaImport("a.com/x", "bzr", "https://h"))
    with pytest.raises(NotFound, match=r"GOVCS disallows using svn for public a\.com/x; see 'go help vcs'"):
        check_root(MetaImport("a.com/x", "svn", "https://h"))
    with pytest.raises(NotFound, match="Git only"):
        check_root(MetaImport("a.com/x", "hg", "https://h"))
