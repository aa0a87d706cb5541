"""goimport and reporoot against cmd/go/internal/vcs itself: pages, tags, URLs and paths to both, answers compared.

discovery.go is compiled as it is; of vcs.go, which needs all of cmd/go, the functions that decide are cut out.
"""

from __future__ import annotations

import base64
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support.gotool import GoTool, ask
from vcsproxy.errors import NotFound
from vcsproxy.mod import goimport, gotext, reporoot

HELPER = r"""
//go:debug urlstrictcolons=1
package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"regexp"
	urlpkg "net/url"
	"strings"
)

type ModuleMode int

const (
	IgnoreMod ModuleMode = iota
	PreferMod
)

type metaImport struct {
	Prefix, VCS, RepoRoot, SubDir string
}

type securityMode int

const secureOnly securityMode = 0

type Cmd struct {
	Cmd     string
	Scheme  []string
	PingCmd string
}

func (v *Cmd) isSecureScheme(s string) bool { return s == "https" }
func (v *Cmd) Ping(scheme, repo string) error { return nil }

var vcsList = []*Cmd{
	{"hg", []string{"https"}, "x"}, {"git", []string{"git", "https"}, "x"}, {"svn", []string{"https"}, "x"},
	{"fossil", []string{"https"}, ""},
}

func checkGOVCS(vcs *Cmd, root string) error {
	if vcs.Cmd != "git" && vcs.Cmd != "hg" {
		return fmt.Errorf("GOVCS disallows using %s for public %s; see 'go help vcs'", vcs.Cmd, root)
	}
	return nil
}

func interceptVCSTest(repo string, vcs *Cmd, security securityMode) (string, bool) { return "", false }

type RepoRoot struct {
	Repo, Root, SubDir string
	IsCustom           bool
	VCS                *Cmd
}

type vcsPath struct {
	pathPrefix     string
	regexp         *regexp.Regexp
	repo, vcs      string
	check          func(match map[string]string) error
	schemelessRepo bool
}

//EXTRACTS//

type question struct {
	Page    []byte
	Imports []metaImport
	Path    string
	URL     string
	SubDir  string
	Kind    string
}

type answer struct {
	Err     []byte
	Tags    [][][]byte
	Root    string
	Repo    string
	VCS     string
	Unknown bool
}

func bs(m metaImport) [][]byte {
	return [][]byte{[]byte(m.Prefix), []byte(m.VCS), []byte(m.RepoRoot), []byte(m.SubDir)}
}

func reply(q question) (a answer) {
	var err error
	switch q.Kind {
	case "page":
		var tags []metaImport
		tags, err = parseMetaGoImports(bytes.NewReader(q.Page), PreferMod)
		for _, m := range tags {
			a.Tags = append(a.Tags, bs(m))
		}
	case "match":
		var m metaImport
		m, err = matchGoImport(q.Imports, q.Path)
		a.Tags = [][][]byte{bs(m)}
	case "root":
		if err = validateRepoSubDir(q.SubDir); err == nil {
			err = validateRepoRoot(q.URL)
		}
	case "static":
		var rr *RepoRoot
		rr, err = repoRootFromVCSPaths(q.Path, secureOnly, vcsPaths)
		if err == errUnknownSite {
			return answer{Unknown: true}
		}
		if err == nil {
			a.Root, a.Repo, a.VCS = rr.Root, rr.Repo, rr.VCS.Cmd
		}
	}
	if err != nil {
		a.Err = []byte(err.Error())
	}
	return a
}

func main() {
	in := bufio.NewReader(os.Stdin)
	out := bufio.NewWriter(os.Stdout)
	defer out.Flush()
	enc := json.NewEncoder(out)
	for {
		line, err := in.ReadBytes('\n')
		if err != nil {
			return
		}
		var q question
		if err := json.Unmarshal(line, &q); err != nil {
			panic(err)
		}
		enc.Encode(reply(q))
	}
}
"""


def words(text: str) -> list[str]:
    return text.split(" ")


EXTRACTS = (
    "type ImportMismatchError",
    "func (m ImportMismatchError) Error",
    "func matchGoImport",
    "func validateRepoSubDir",
    "func validateRepoRoot",
    "func httpPrefix",
    "func vcsByCmd",
    "func repoRootFromVCSPaths",
    "func expand",
    "func noVCSSuffix",
    "var vcsPaths",
    "type importError",
    "func importErrorf",
    "func (e *importError) Error",
)


def extracts(source: str) -> str:
    parts = ['var errUnknownSite = errors.New("dynamic lookup required")']
    for start in EXTRACTS:
        found = re.search(rf"^{re.escape(start)}\b.*?^\}}", source, re.MULTILINE | re.DOTALL)
        assert found, start
        parts.append(found[0])
    text = "\n\n".join(parts)
    for old, new in (
        ("web.SecurityMode", "securityMode"),
        ("web.SecureOnly", "secureOnly"),
        ("str.HasPathPrefix", "HasPathPrefix"),
        ("lazyregexp.New", "regexp.MustCompile"),
    ):
        text = text.replace(old, new)
    return text


@pytest.fixture(scope="module")
def helper(go: GoTool) -> Path:
    source = (go.goroot() / "src/cmd/go/internal/vcs/vcs.go").read_text()
    files = {"discovery.go": "cmd/go/internal/vcs/discovery.go", "path.go": "cmd/go/internal/str/path.go"}
    return go.build_helper("goimport", HELPER.replace("//EXTRACTS//", extracts(source)), files)


def text_of(encoded: str | None) -> str:
    return gotext.decode(base64.b64decode(encoded or ""))


def tags_of(answer: dict[str, Any]) -> tuple[goimport.MetaImport, ...]:
    return tuple(goimport.MetaImport(*map(text_of, tag)) for tag in answer["Tags"] or ())


checked = settings(
    derandomize=True, deadline=None, suppress_health_check=list(HealthCheck), database=None, report_multiple_bugs=False
)

# --- pages ---


def compare_pages(helper: Path, pages: list[bytes]) -> None:
    answers = ask(helper, [{"Kind": "page", "Page": base64.b64encode(page).decode()} for page in pages])
    for page, answer in zip(pages, answers, strict=True):
        theirs: object = tags_of(answer)
        if answer["Err"]:
            theirs = gotext.scrub(text_of(answer["Err"]))
        ours: object
        try:
            ours = goimport.parse_meta(page)
        except goimport.GoImportError as bad:
            ours = str(bad)
        assert ours == theirs, page


PIECES = (
    *words("< > </ /> <? ?> <! <!-- --> -- - <![CDATA[ ]]> ]] ] = ' \" /"),
    *words("& &amp; &#47; &#x2F; &#0; &#xD800; &nbsp; &# &#x &lt &;"),
    "&#1114112;",
    "&#000000000000000000000047;",
    "&#99999999999999999999999;",
    "&#x;",
    "]]&gt;",
    " ",
    "\n",
    "\r\n",
    "\t",
    "\v",
    "\x00",
    "\x1c",
    "\x7f",
    "\xa0",
    "\u2003",
    "\u00e9",
    "\u4e2d",
    "\ufffe",
    "\ufffd",
    "\U0001f600",
    "\udc80",
    "\udcff",
    "a",
    "1",
    ":",
    "a:b",
    "a:b:c",
    ":a",
    "a:",
    "-",
    ".",
    "\u00b7",
    "meta",
    "name",
    "go-import",
    "content",
    "body",
    "head",
    "\u212aey",
)
CONTENTS = (
    "a.com/x git https://git.a.com/x",
    "a.com/x mod https://proxy.a.com",
    "a.com/y git https://git.a.com/y sub",
    "a.com/x git",
    "a.com/x git https://a b c",
    " a.com/x\n\tgit\u2003https:&#47;&#x2f;git.a.com/x ",
    "a.com/x git https://git.a.com/?a=1&b=2",
    "a.com/x git https://git.a.com/?a=1&amp;b=]]>2",
    "",
    "a.com/x\x1cgit https://x y",
    "<",
)
NODES = (
    "<!DOCTYPE html>",
    '<!DOCTYPE html PUBLIC "-//W3C//DTD > XHTML" "x<y">',
    "<!DOCTYPE x [ <!ENTITY a 'b>'> <!-- > ' --> ]>",
    "<!>",
    "<!'>",
    "<!a<!-->b--><c>>",
    "<!a<!-b>>",
    '<?xml version="1.0" encoding="utf-8"?>',
    '<?xml version="1.0" encoding="ISO-8859-1"?>',
    "<?xml version='1.1'?>",
    "<?xml encoding=ascii encoding='ASCII' ?>",
    '<?xml version="1.0?>',
    "<?xml?>",
    "<?php echo ?>",
    "<? x?>",
    "<html lang=en>",
    "<head>",
    "<HEAD >",
    "</head>",
    "</HEAD\n>",
    "<head/>",
    "<body>",
    "<BODY class='x'>",
    "</ head>",
    "</p x>",
    "<title>a &lt; b</title>",
    "<title>a < c</title>",
    "<script>if (a<b && c) {}</script>",
    "<script>a && b;</script>",
    "<style>p > a {}</style>",
    "<!-- comment -->",
    "<!-- a -- b -->",
    "<!-->-->",
    "<!--->-->",
    '<!-- <meta name="go-import" content="a.com/c git https://c"> -->',
    "<![CDATA[ x < y & z ]]>",
    "<![CDATA[]]>",
    "<![CDATA[ ]]",
    "<![cdata[x]]>",
    "]]>",
    "a]]&gt;>",
    "caf\u00e9 &nbsp; &eacute; &copy &",
    "<link rel=stylesheet href=style>",
    "<link rel=stylesheet href=/style>",
    "<br/>",
    "<br / >",
    "<img alt>",
    "<a:b:c>",
    "<p 1=2>",
    '<p a="b"c=d>',
    '<p a="<">',
    "<p a='\"' b=\"'\">",
    "<p a=>",
    "<p =a>",
    "<\u00e9l\u00e9ment \u4e2d='x'>",
    "<.x>",
    "</x:head>",
    "<x:body>",
)


@st.composite
def meta(draw: st.DrawFn) -> str:
    content = draw(st.sampled_from(CONTENTS))
    quote = draw(st.sampled_from('""\''))
    name = draw(st.sampled_from(("name", "name", "NAME", "x:name", "property", "name name")))
    value = draw(
        st.sampled_from(('"go-import"', '"go-import"', "go-import", "'go-import'", '"GO-IMPORT"', '"go&#45;import"'))
    )
    key = draw(st.sampled_from(("content", "content", "Content", "y:content")))
    equals = draw(st.sampled_from(("=", "=", " = ", "\n=\t")))
    tag = draw(st.sampled_from(("meta", "meta", "META", "m:meta")))
    attrs = [f"{name}{equals}{value}", f"{key}={quote}{content}{quote}"]
    if draw(st.integers(0, 4)) == 0:
        attrs.insert(
            draw(st.integers(0, 2)), draw(st.sampled_from(("name=x", "content", 'x="y"', "name", "charset=utf-8")))
        )
    if draw(st.integers(0, 4)) == 0:
        attrs.reverse()
    return f"<{tag} {' '.join(attrs)}{draw(st.sampled_from(('>', '>', '/>', ' />')))}"


@st.composite
def page(draw: st.DrawFn) -> bytes:
    nodes = draw(st.lists(st.one_of(meta(), meta(), st.sampled_from(NODES)), max_size=6))
    text = draw(st.sampled_from(("", "\n", " "))).join(nodes)
    for _ in range(draw(st.sampled_from((0, 0, 1, 2)))):
        at = draw(st.integers(0, len(text)))
        text = text[:at] + draw(st.sampled_from(("", *PIECES))) + text[at + draw(st.integers(0, 2)) :]
    if draw(st.integers(0, 5)) == 0:
        text = text[: draw(st.integers(0, len(text)))]
    return text.encode("utf-8", "surrogateescape")


@settings(checked, max_examples=150)
@given(st.lists(page(), min_size=5, max_size=5))
def test_generated_pages_give_the_tags_or_the_error_that_go_gets(helper: Path, pages: list[bytes]) -> None:
    compare_pages(helper, pages)


@settings(checked, max_examples=100)
@given(st.lists(st.lists(st.sampled_from(PIECES), max_size=12).map("".join), min_size=10, max_size=10))
def test_bits_of_markup_give_the_error_that_go_gets(helper: Path, texts: list[str]) -> None:
    tag = '<meta name="go-import" content="a.com/x git https://x">'
    compare_pages(helper, [(text + tag).encode("utf-8", "surrogateescape") for text in texts])


def test_each_node_alone_and_before_a_tag(helper: Path) -> None:
    tag = '<meta name="go-import" content="a.com/x git https://x">'
    texts = [
        part for node in (*NODES, *PIECES) for part in (node, node + tag, tag + node, f"<p {node}>", f"<p a='{node}'>")
    ]
    cut = [text[:at] for text in NODES for at in range(len(text))]
    compare_pages(helper, [text.encode("utf-8", "surrogateescape") for text in texts + cut])


def test_name_characters_are_gos(helper: Path) -> None:
    chars = [chr(c) for c in range(0x80, 0x10000, 7) if not 0xD800 <= c < 0xE000]
    compare_pages(helper, [f"<{form}>".encode() for c in chars for form in (c, "a" + c)])


# --- choosing a tag ---

prefixes = st.sampled_from(("a.com", "a.com/x", "a.com/x/y", "a.com/xy", "b.com", "a.com/x/", ""))
tags = st.builds(goimport.MetaImport, prefixes, st.sampled_from(("git", "git", "mod", "hg")), st.just("https://r"))


@settings(checked, max_examples=150)
@given(st.lists(tags, max_size=4), st.sampled_from(("a.com", "a.com/x", "a.com/x/y", "a.com/x/y/z", "c.com/q")))
def test_the_tag_that_go_takes_is_taken(helper: Path, found: list[goimport.MetaImport], path: str) -> None:
    ordered = sorted(found, key=lambda tag: tag.vcs != "mod")
    imports = [{"Prefix": t.prefix, "VCS": t.vcs, "RepoRoot": t.repo_root, "SubDir": t.subdir} for t in ordered]
    (answer,) = ask(helper, [{"Kind": "match", "Imports": imports, "Path": path}])
    ours: object
    theirs: object = tags_of(answer)
    try:
        ours = (goimport.match(ordered, path),)
    except goimport.GoImportError as bad:
        ours, theirs = str(bad), text_of(answer["Err"])
        if "multiple" not in theirs:
            theirs = f"no go-import meta tags ({theirs})"
    assert ours == theirs


URL_BITS = (
    *words("https http ssh git+ssh file FILE svn : :// // /// / @ git user:pw@ host host.com :80 :x"),
    *words("[::1] [fe80::1%25en0] [ ] [x] : %41 %zz % %2f %80 ? # #%z ~ \\ ^ | { < > \" ' ( *"),
    *words("a-b 1x + . .. * \x7f \u00e9"),
)


@settings(checked, max_examples=150)
@given(
    st.lists(st.lists(st.sampled_from(URL_BITS), max_size=6).map("".join), min_size=10, max_size=10),
    st.sampled_from(("", "https://", "https://host/", "ssh://git@", "//")),
)
def test_repository_urls_are_refused_as_go_does(helper: Path, texts: list[str], start: str) -> None:
    urls = [start + text for text in texts]
    for url, answer in zip(urls, ask(helper, [{"Kind": "root", "URL": url} for url in urls]), strict=True):
        theirs = text_of(answer["Err"])
        try:
            goimport.check_root(goimport.MetaImport("a.com/x", "git", url))
            ours = ""
        except goimport.GoImportError as bad:
            ours = str(bad)
        assert bool(ours) == bool(theirs), url
        if url.isascii() and "[" not in url and ": invalid character" not in theirs:
            assert ours.endswith(theirs), url


# --- paths ---

elements = st.sampled_from(
    words(
        "t r x.git y.hg z.svn w.fossil v.bzr a~b ~u ~u.git .git a.b a.b.git A_b v2 b~c.d x-1 git user repository 0"
        " q.git.git"
    )
)
hosts = st.sampled_from(
    words(
        "github.com bitbucket.org hub.jazz.net git.apache.org git.openstack.org chiselapp.com example.net rsc.io"
        " example.org a.b.c golang.org x.git a-b.c 1.2.3.4 github.com.x"
    )
)


@settings(checked, max_examples=150)
@given(st.lists(st.tuples(hosts, st.lists(elements, max_size=5)), min_size=10, max_size=10))
def test_paths_have_the_static_roots_that_go_gives_them(helper: Path, parts: list[tuple[str, list[str]]]) -> None:
    paths = ["/".join([host, *rest]) for host, rest in parts]
    paths += [path.replace("git.apache.org/x.git", "chiselapp.com/user/u1/repository/x") for path in paths]
    for path, answer in zip(paths, ask(helper, [{"Kind": "static", "Path": path} for path in paths]), strict=True):
        compare_static(path, answer)


def compare_static(path: str, answer: dict[str, Any]) -> None:
    error = text_of(answer["Err"])
    try:
        found = reporoot.static_root(path, ())
    except NotFound as refusal:
        ours = str(refusal)
    else:
        if isinstance(found, reporoot.Discover):
            assert answer["Unknown"], path
            return
        assert not error, path
        url = found.url if isinstance(found, reporoot.RepoRoot) else f"{found.schemes[0]}://{found.repo}"
        assert (found.root, url) == (answer["Root"], answer["Repo"])
        return
    if ours.startswith("mismatched repo"):  # Go would ask the host that it found in the middle of the path
        assert not path.startswith(answer["Root"] or "?")
        assert "GOVCS" in error or ours == f"mismatched repo: found {answer['Root']} for {path}"
    elif "Git only" in ours:
        assert answer["VCS"] == "hg", path
    else:
        assert ours == error, path
