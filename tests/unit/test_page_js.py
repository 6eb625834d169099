"""The world that scripts of jump pages see (page.js): a page in, where it goes out."""

import json
import random
from typing import Any
from urllib.parse import unquote

import msgspec
import pytest

from daemon.trace.engine.child import outcome_of, template
from daemon.trace.engine.records import PageOutcome, PageRequest
from daemon.web.headers import parsed

HERE = "http://ads.example/dir/page?q=1"
AGENT = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36"


def run(html: str, **more: Any) -> PageOutcome:
    request = PageRequest(HERE, html, "utf-8", whole=True, user_agent=AGENT, languages=("en-US", "en"), now_ms=1.7e12)
    request = msgspec.structs.replace(request, **more)
    return msgspec.json.decode(outcome_of(template(), msgspec.json.encode(request)), type=PageOutcome)


def script(code: str, **more: Any) -> str:
    """Where a page with this script goes, without its own host; the kind if it does not go."""
    return landing(f"<body><script>{code}</script>", **more)


def landing(html: str, **more: Any) -> str:
    found = run(html, **more)
    return found.url.removeprefix("http://ads.example") if found.kind == "goes" else found.kind


@pytest.mark.parametrize(
    "code",
    [
        "location = '/b'",
        "window.location.href = '/b'",
        "top.location.replace('/b')",
        "self.location.assign('/b')",
        "document.location = '/b'",
        "window['loc' + 'ation']['hr' + 'ef'] = '/b'",
        "var location = '/b'",
        "(function () { var u = '/b'; function go() { parent.location = u } go() })()",
        "setTimeout(function () { location = '/b' }, 3000)",
        "setTimeout(\"location = '/b'\", 100)",
        "var n = 3; var t = setInterval(function () { if (--n === 0) { clearInterval(t); location = '/b' } }, 1000)",
        "requestAnimationFrame(() => { location = '/b' })",
        "location = atob('L2I=')",
        "location = unescape('%2f%62')",
        "location = String.fromCharCode(47, 98)",
        "location = 'b/'.split('').reverse().join('')",
        "eval(\"location = '/b'\")",
        "new Function(\"location = '/b'\")()",
        "eval(function(p,a,c,k,e,d){while(c--)if(k[c])p=p.replace(new RegExp('\\\\b'+c.toString(a)+'\\\\b','g'),k[c]);"
        "return p}('0=\"/1\"',2,2,'location|b'.split('|'),0,{}))",
        "document.write('<scr' + 'ipt>location = \"/b\"</scr' + 'ipt>')",
        "document.write('<meta http-equiv=refresh content=\"0;url=/b\">')",
        "document.write('<form action=/b method=post></form>'); document.forms[0].submit()",
        "var m = document.createElement('meta'); m.httpEquiv = 'refresh'; m.content = '1;/b'; document.head.append(m)",
        "var a = document.createElement('a'); a.href = '/b'; document.body.appendChild(a); a.click()",
        "document.body.innerHTML = '<a id=x href=/b>x</a>'; x.dispatchEvent(new MouseEvent('click'))",
        "window.open('/b', '_self')",
        "onload = function () { location = '/b' }",
        "addEventListener('load', () => location.href = '/b')",
        "document.addEventListener('DOMContentLoaded', () => { location.href = '/b' })",
        "document.onreadystatechange = function () { if (document.readyState === 'complete') location = '/b' }",
        "Promise.resolve('/b').then((url) => { location = url })",
        "(async () => { await new Promise((done) => setTimeout(done, 500)); location = '/b' })()",
        "class Jump { constructor(url) { this.url = url } go() { location = this.url } } new Jump('/b').go()",
        "with (window) location = '/b'",
        "location = 'javascript:location = \"/b\"'",
        "if (top != self) { top.location = '/frame' } else { location = '/b' }",
        "try { nope(); location = '/c' } catch (e) { location = '/b' }",
        "window.onerror = function () { location = '/b' }; nope()",
        "localStorage.seen = '1'; if (localStorage.getItem('seen') === '1') location = '/b'",
        "document.cookie = 'a=1'; if (document.cookie.indexOf('a=1') >= 0) location = '/b'",
        "location = new URL('/b', location.href)",
        "location = new URLSearchParams(location.search).get('q') === '1' ? '/b' : '/c'",
        "location = '/c'; location = '/b'",
        "navigator.sendBeacon('/x'); fetch('/x'); location = '/b'",
        "var s = document.createElement('script'); s.text = 'location = \"/b\"'; document.body.appendChild(s)",
        "document.body.setAttribute('data-u', '/b'); location = document.body.dataset.u",
        "/(b)/.exec('/b'); location = '/' + RegExp.$1",
        "var go = location.replace; try { go('/c') } catch (e) { location = '/b' }",
        "location = (eval + '').indexOf('{ [native code] }') > 0 ? '/b' : '/c'",
        "document.body.innerHTML = '<img src=x: onerror=location=`/b`>'",
        "var c = new MessageChannel(); c.port1.onmessage = () => { location = '/b' }; c.port2.postMessage(1)",
        "new MutationObserver(() => {location='/b'}).observe(document.body,{attributes:true});document.body.id = 'x'",
        "location = 'javascript:`<script>location=&#34;/b&#34;<` + `/script>`'.replaceAll('&#34;', '\\x22')",
        "setTimeout(() => { document.write('<scr' + 'ipt>location = \"/b\"</scr' + 'ipt>') }, 9)",
        "try { document.querySelector(':visible') } catch (e) { location = e.name === 'SyntaxError' ? '/b' : '/c' }",
        "location = document.body.querySelectorAll(':scope > script').length === 1 ? '/b' : '/c'",
        "location = document.body.compareDocumentPosition(document.head) === 2 ? '/b' : '/c'",
        "location = getComputedStyle(document.body).display === 'block' ? '/b' : '/c'",
        "var d = document.createElement('div'); d.style.width = '4px'; location = d.offsetWidth === 4 ? '/b' : '/c'",
        "location = document.querySelector('body > script:first-child').ownerDocument.body ? '/b' : '/c'",
    ],
)
def test_scripts_that_leave_in_the_usual_ways(code: str) -> None:
    assert script(code).rstrip("?") == "/b"


@pytest.mark.parametrize(
    ("html", "expected"),
    [
        ("<p>Hello", "stays"),
        ("<script>var a = 1</script>", "stays"),
        ("<a href=/b onclick=\"location='/c'\">x</a><script>var a = 1</script>", "stays"),
        ("<script>setTimeout(function () { location = '/b' }, 60000)</script>", "stays"),
        ("<script>window.open('/b', '_blank')</script>", "stays"),
        ("<script>location = '/b'", "stays"),
        ("<script type='text/template'>location = '/b'</script>", "stays"),
        ("<script>nope(); location = '/b'</script>", "stays"),
        ("<script>if (indexedDB.databases) location = '/b'; else location = '/c'</script>", "unresolved"),
        ("<script>fetch('/x').then((r) => r.text()).then((u) => { location = u })</script>", "unresolved"),
        (
            "<p id=ad class=ad>x<script>if (ad.offsetHeight > 0) location = '/b'; else location = '/c'</script>",
            "unresolved",
        ),
        ("<script>location = '/b'</script><script>location = '/c'</script>", "/b"),
        ("<script>location = '/b'; setTimeout(function () { location = '/c' }, 500)</script>", "unresolved"),
        ("<script>location = '/b'; setTimeout(function () { location = '/c' }, 2000)</script>", "/b"),
        ("<meta http-equiv=refresh content='2;/m'><script>location = '/b'</script>", "/b"),
        ("<meta http-equiv=refresh content='2;/m'><script>setTimeout(\"location = '/b'\", 500)</script>", "/b"),
        ("<meta http-equiv=refresh content='1;/m'><script>setTimeout(\"location = '/b'\", 5000)</script>", "/m"),
        ("<body onload=\"location = '/b'\"><p>x", "/b"),
        ("<img src='x:' onerror=\"location = '/b'\">", "/b"),
        ("<iframe src=\"javascript:top.location = '/b'\"></iframe>", "/b"),
        ("<script type=module>location = '/b'</script>", "/b"),
        ("<form name=go action=/b></form><script>go.submit()</script>", "/b?"),
        ("<form action=/b><button id=x name=c value=d>x</button></form><script>x.click()</script>", "/b?c=d"),
        ("<form action=/b><input name=submit></form><script>document.forms[0].submit()</script>", "stays"),
        ("<base href=/x/><script>location = 'b'</script>", "/x/b"),
        ("<template><script>location = '/c'</script></template><script>location = '/b'</script>", "/b"),
        ("<noscript><script>location = '/c'</script></noscript><script>location = '/b'</script>", "/b"),
        ("<meta http-equiv=refresh content='0;#x'><script>setTimeout(() => { location = '/b' }, 900)</script>", "/b"),
        ("<meta http-equiv=refresh content='3;/m'><meta http-equiv=refresh content='1;/b'><script>1</script>", "/b"),
        (
            "<script>document.write('<form action=/b id=f>')</script><input name=a></form><script>f.submit()</script>",
            "/b?a=",
        ),
        (
            "<script>document.write('<!--')</script><script>location='/c'</script>--><script>location='/b'</script>",
            "/b",
        ),
        ("<script>const a = 1</script><script>const a = 2; location='/c'</script><script>location='/b'</script>", "/b"),
        ("<script>try {f();location='/c' } catch (e) { location='/b' }</script><script>function f() {}</script>", "/b"),
        ("<script>document.onclick = () => { location = '/c' }</script>", "stays"),
        ("<form action=/b><input required name=a></form><script>document.forms[0].requestSubmit()</script>", "stays"),
        ("<form name=location></form><script>document.location = '/b'</script>", "/b"),
        (
            "<meta http-equiv=Content-Security-Policy content=\"script-src 'none'\"><script>location = '/b'</script>",
            "stays",
        ),
    ],
)
def test_pages_that_stay_or_leave(html: str, expected: str) -> None:
    assert landing(html) == expected


def test_a_page_sees_no_function_of_the_host_and_cannot_run_again() -> None:
    names = "['__tree', '__parse', '__url', '__encode', '__script', '__module', '__jobs']"
    assert script(f"location = '/' + {names}.filter((name) => name in window).length + __run('{{}}')") == "/0"


@pytest.mark.parametrize(
    "code",
    [
        "Array.prototype.push = Array.prototype.splice = Array.prototype.slice = null; location = '/b'",
        "Object.prototype.get = Object.prototype.url = '/c'; location = '/b'",
        'JSON.stringify = JSON.parse = () => \'{"kind": "goes", "url": "/c"}\'; location = \'/b\'',
        "Array.prototype.toJSON = String.prototype.toJSON = Object.prototype.toJSON = () => 1; location = '/b'",
        "RegExp.prototype.exec = String.prototype.indexOf = () => { throw 1 }; location = '/b'",
        "Map.prototype.get = WeakMap.prototype.get = () => { throw 1 }; document.title; location = '/b'",
        "Array.prototype[Symbol.iterator] = Function.prototype.call = Function.prototype.apply = null; location = '/b'",
        "Event = Node = HTMLElement = Proxy = Reflect = null; onload = () => { location = '/b' }",
        "Object.defineProperty(Object.prototype, 'kind', { value: 'stays' }); location = '/b'",
        "window.__defineGetter__('parent', () => 1); location = '/b'",
    ],
)
def test_a_page_that_replaces_built_in_functions_changes_no_result(code: str) -> None:
    assert script(code) == "/b"


def test_the_tab_keeps_names_and_storages_for_the_next_page() -> None:
    first = run(
        "<script>window.name = 'n'; localStorage.a = 1; sessionStorage.setItem('b', 2); location = '/2'</script>"
    )
    code = "location = '/' + window.name + localStorage.a + sessionStorage.getItem('b')"
    assert script(code, kept=first.kept) == "/n12"
    assert script("location = '/' + localStorage.getItem('a')", kept=first.kept, url="http://b.example/") == (
        "http://b.example/null"
    )
    assert script("location = '/' + window.name", kept=first.kept, url="http://b.example/") == "unresolved"


def test_an_external_script_is_needed_only_where_the_page_does_not_leave_without_it() -> None:
    page = "<script src=/a.js></script>"
    found = run(page, fetches_left=3)
    assert (found.kind, found.needs) == ("needs", ("http://ads.example/a.js",))
    assert landing(page, scripts={"http://ads.example/a.js": "location = '/b'"}) == "/b"
    assert landing(page + "<script>location = '/b'</script>", fetches_left=3) == "/b"
    later = page + "<script>setTimeout(() => { location = '/b' }, 1000)</script>"
    assert landing(later, fetches_left=3) == "needs"
    assert landing(later, fetches_left=0) == "unresolved"
    assert landing(later, fetches_left=3, harmless_hosts=("ads.example",)) == "/b"


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("<form id=f action=/b></form>", "f.submit()"),
        ("", "document.body.innerHTML = '<form id=f action=/b></form>'; f.requestSubmit()"),
        ("<form id=f action=/b><button id=x></button></form>", "x.click()"),
        ("<a id=x href=/b>x</a>", "x.click()"),
        ("<a id=x href=/b>x</a>", "location = x.href"),
        ("<a id=x href=/b>x</a>", "location = document.links[0]"),
        ("<a id=x href=/b>x</a>", "location = x.cloneNode().pathname"),
        ("<p id=x data-u=/b>x</p>", "location = x.getAttribute('data-u')"),
        ("<p id=x data-u=/b>x</p>", "location = x.dataset.u"),
        ("<p id=x>/b</p>", "location = x.textContent"),
        ("<p id=x>/b</p>", "location = x.firstChild.data"),
        ("<p id=x>/b</p>", "location = x.innerHTML"),
        ("<p id=x class=go>x</p>", "if (x.classList.contains('go')) location = '/b'"),
        ("<p id=x>x</p>", "if (x.style.display !== 'none') location = '/b'"),
        ("<title>/b</title>", "location = document.title"),
        ("<input id=x value=/b>", "location = x.value"),
        ("", "if (!document.getElementById('bait')) location = '/b'"),
        ("", "if (!document.querySelectorAll('.bait').length) location = '/b'"),
        ("<script>u = '/b'</script>", "location = u"),
        ("<script>let to = {u: '/b'}</script>", "location = to.u"),
        ("<script>function go() { location = '/b' }</script>", "go()"),
        ("<script>var u = '/b'; onload = function () { location = u }</script>", ""),
    ],
)
def test_a_script_that_may_change_what_the_jump_reads_is_needed(before: str, after: str) -> None:
    page = f"<body>{before}<script src=/a.js></script><script>{after}</script>"
    assert landing(page, fetches_left=3) == "needs"
    assert landing(page, fetches_left=0) == "unresolved"
    assert landing(page, scripts={"http://ads.example/a.js": "void 0"}).rstrip("?") == "/b"


@pytest.mark.parametrize(
    "after",
    [
        "<script>location = '/b'</script>",
        "<form id=f action=/b></form><script>f.submit()</script>",
        "<p id=x data-u=/b>x</p><script>location = x.dataset.u</script>",
        "<p id=x>/b</p><script>location = x.textContent</script>",
        "<script>var u = '/b'</script><script>location = u</script>",
        "<script>onload = function () { location = '/b' }</script>",
        "<script>var a = document.createElement('a'); a.href = '/b'; a.click()</script>",
        "<script>var f = document.createElement('form'); f.action = '/b'; document.body.appendChild(f); f.submit()"
        "</script>",
        "<script>var s = document.createElement('script'), f = document.getElementsByTagName('script')[0]; s.src"
        " = '/t.js'; f.parentNode.insertBefore(s, f); document.documentElement.classList.add('js'); location = '/b'"
        "</script>",
    ],
)
def test_a_jump_that_reads_nothing_of_what_was_before_a_script_goes_without_it(after: str) -> None:
    assert landing(f"<body><script src=/a.js></script>{after}", fetches_left=3).rstrip("?") == "/b"


def test_a_script_beyond_the_bound_makes_a_jump_unresolved_that_reads_what_an_earlier_script_has_set() -> None:
    page = "<script src=/1.js></script><script src=/2.js></script><script>location = '/?' + n</script>"
    assert landing(page, scripts={"http://ads.example/1.js": "n = 1"}, fetches_left=0) == "unresolved"


@pytest.mark.parametrize(
    "use",
    [
        "t => { document.body.innerHTML = t }",
        "t => { x.outerHTML += t }",
        "t => document.body.insertAdjacentHTML('beforeend', t)",
        "t => document.body.append(document.createRange().createContextualFragment(t))",
        "t => { const i = new Image(); i.setAttribute('onerror', t); i.src = 'x:' }",
        "t => { const s = document.createElement('script'); s.text = t; document.head.append(s) }",
        "t => { const s = document.createElement('script'); s.append(t); document.head.append(s) }",
        "t => document.head.appendChild(document.createElement('script')).textContent = t",
        "t => document.head.append(Object.assign(document.createElement('script'), { text: t }))",
        "t => setTimeout(t, 10)",
        "setTimeout",
        "t => { (() => 0).constructor(t)() }",
        "t => { (() => 0)['constructor'](t)() }",
        "t => self['ev' + 'al'](t)",
        "t => { const f = document.createElement('iframe'); f.src = t; document.body.append(f) }",
        "t => { const d = JSON.parse(t); x.innerHTML = d.html }",
    ],
)
def test_a_page_that_may_run_an_answer_is_unresolved(use: str) -> None:
    page = f"<body><p id=x>x<script>fetch('/a').then(r => r.text()).then({use})</script>"
    assert landing(page) == "unresolved"
    assert landing(page, unknown_stay=True) == "stays"


@pytest.mark.parametrize(
    "use",
    [
        "d => { x.innerHTML = d.map(i => `<li>${i.name}`).join('') }",
        "d => { x.innerHTML = d.count }",
        "d => { for (const i of d) { const a = document.createElement('a'); a.href = i.url; x.append(a) } }",
        "d => { x.textContent = d.price; setTimeout(() => x.remove(), 200) }",
        "d => { const s = document.createElement('script'); s.type = 'application/ld+json'; "
        "s.textContent = JSON.stringify(d); document.head.append(s) }",
        "d => { const f = document.createElement('iframe'); f.src = 'https://chat.example/?' + d.id; x.append(f) }",
        "d => { window['show'](d) }",
    ],
)
def test_a_page_that_shows_data_stays(use: str) -> None:
    analytics = "<script>window.dataLayer = []; const gtag = (...a) => dataLayer.push(a); gtag('js')</script>"
    page = f"{analytics}<body><p id=x>x<script>fetch('/a').then(r => r.json()).then({use})</script>"
    assert landing(page) == "stays"


@pytest.mark.parametrize(
    "code",
    [
        "document.createElement('canvas').getContext('2d').fillText('x', 0, 0)",
        "new Intl.NumberFormat('de-DE').format(12.5)",
        "customElements.define('a-b', class extends HTMLElement {})",
        "getComputedStyle(document.body).color",
        "performance.getEntriesByType('resource')",
        "document.body.attachShadow({mode: 'open'})",
        "['ä', 'z'].sort((a, b) => a.localeCompare(b))",
    ],
)
def test_a_page_that_shows_much_stays_whatever_it_draws_and_measures(code: str) -> None:
    page = "<body><script>document.onclick = () => { location = '/buy' }</script><script>" + code + "</script>"
    assert landing(page) == "unresolved"
    assert landing(page, unknown_stay=True) == "unresolved"
    assert landing(page + "shoes " * 200, unknown_stay=True) == "stays"
    assert landing(page + "<script>location = '/b'</script>" + "shoes " * 200, unknown_stay=True) == "unresolved"


def test_a_script_that_fails_before_it_leaves_is_unresolved_with_much_text_too() -> None:
    page = (
        "<body><script>document.createElement('canvas').getContext('2d').fillText('x', 1, 1); location = '/b'</script>"
    )
    assert landing(page + "shoes " * 200, unknown_stay=True) == "unresolved"


@pytest.mark.parametrize("code", ["crypto.subtle.digest('SHA-1', 0)", "indexedDB.open('a')"])
def test_what_a_bot_check_asks_is_unresolved_with_much_text_too(code: str) -> None:
    page = (
        "<body><script>document.onclick = () => { location = '/buy' }</script><script>"
        + code
        + "</script>"
        + "shoes " * 200
    )
    assert landing(page, unknown_stay=True, url="https://ads.example/") == "unresolved"


def test_texts_are_compared_as_in_browsers() -> None:
    assert script("location = '/' + ['b', 'B', 'a-c', 'ab', 'C', '_'].sort((a, b) => a.localeCompare(b)).join('')") == (
        "/_a-cabbBC"
    )
    assert script("location = '/' + 'a'.localeCompare('B', undefined, {numeric: true})") == "unresolved"
    assert script("location = '/' + 'é'.localeCompare('z')") == "unresolved"
    assert script("location = '/' + 'I'.toLocaleLowerCase('tr')") == "unresolved"


def test_the_navigation_entry_is_that_of_a_first_visit() -> None:
    code = "const n = performance.getEntriesByType('navigation')[0]; location = '/' + n.type + n.serverTiming.length"
    assert script(code) == "/navigate0"
    assert script("location = '/' + performance.getEntriesByType('navigation')[0].transferSize") == "unresolved"


def test_an_import_may_leave_whatever_the_words_of_the_page() -> None:
    assert landing("<script>import('/m.js').then(m => m.go())</script>") == "unresolved"
    assert landing("<script type=module>import '/m.js'</script>") == "unresolved"


def test_the_outcome_is_json_of_a_page_outcome() -> None:
    answer = outcome_of(
        template(), msgspec.json.encode(PageRequest(HERE, "<script>location = 1</script>", "utf-8", True))
    )
    assert json.loads(answer)["kind"] == "goes"


def test_the_parts_of_a_url_are_those_of_the_parser() -> None:
    """Some of these URLs are read without the parser."""
    parts = ("href", "protocol", "username", "password", "host", "hostname", "port", "pathname", "search", "hash")
    hosts = ["a.example", "a-b.c.com", "A.example", "xn--a.example", "1.2", "a.1", "a.x1", "a..b", "-a.b", "a_b.com"]
    hosts += ["a.example.", "u@a.example", "a.example:80", "a.example:81", "localhost", "a%2eb.c", "a.xn--p1ai"]
    pieces = [*"ab1./?#&=%'\"`|^{[]~!$(*+,;:@-_\\ é", "..", "/./", "/..", "%2e", "%2E", "%41", "xn--", "http:"]
    draws = random.Random(7)
    urls = [
        f"{draws.choice(('http://', 'https://', 'HTTPS://', 'https:/'))}{draws.choice(hosts)}{draws.choice(('', '/'))}"
        + "".join(draws.choices(pieces, k=draws.randrange(7)))
        for _ in range(3_000)
    ]
    read = f"(url) => {{ try {{ const of = new URL(url); return {list(parts)}.map((part) => of[part]) }} catch {{}} }}"
    code = f"location = 'https://b.example/?' + encodeURIComponent(JSON.stringify({json.dumps(urls)}.map({read})))"
    found = json.loads(unquote(run(f"<script>{code}</script>").url.partition("?")[2]))
    expected = [None if (url := parsed(text)) is None else [getattr(url, part) for part in parts] for text in urls]
    assert dict(zip(urls, found, strict=True)) == dict(zip(urls, expected, strict=True))


def test_a_script_finds_no_function_of_the_world_in_a_stack() -> None:
    found = run(
        "<script>var sites = []; Error.prepareStackTrace = (_, all) => { sites = all; return all };"
        "document.addEventListener('x', () => { new Error().stack }); document.dispatchEvent(new Event('x'));"
        "const own = {}; Error.captureStackTrace(own); own.stack; location = '/' + sites.length</script>"
    )
    assert (found.kind, found.why) == ("unresolved", "error.stack")


@pytest.mark.parametrize(
    ("code", "text"),
    [
        ("null.x", "Cannot read properties of null (reading 'x')"),
        ("undefined.x = 1", "Cannot set properties of undefined (setting 'x')"),
        ("nowhere", "nowhere is not defined"),
        ("let x = x", "Cannot access 'x' before initialization"),
        ("decodeURIComponent('%')", "URI malformed"),
        ("throw new TypeError('As the page says')", "As the page says"),
    ],
)
def test_the_text_of_an_error_is_that_of_v8(code: str, text: str) -> None:
    caught = script(f"try {{ {code} }} catch (error) {{ location = '/?' + escape(error.message) }}")
    assert unquote(caught) == f"/?{text}"
    go = f"onerror = (text) => {{ location = '/?' + escape(text) }}; {code}"
    assert unquote(script(go)).partition("Error: ")[2] == text


@pytest.mark.parametrize("code", ["window.f()", "JSON.parse('<')", "const x = 1; x = 2", "new Array(1.5, ...2)"])
def test_a_text_that_v8_words_otherwise_is_missed_when_it_is_read(code: str) -> None:
    assert script(f"try {{ {code} }} catch (error) {{ location = '/?' + error.message }}") == "unresolved"
    assert script(f"onerror = (text) => {{ location = '/?' + text }}; {code}") == "unresolved"
    assert script(f"onerror = () => {{ location = '/b' }}; {code}") == "/b"
    assert script(f"try {{ {code} }} catch (error) {{ location = '/' + error.name }}").endswith("Error")
    assert landing(f"<script>{code}</script><script>location = '/b'</script>") == "/b"


def test_a_sandboxed_frame_that_may_navigate_the_page_is_unresolved() -> None:
    inner = "srcdoc='<script>top.location = 1</script>'"
    assert landing(f"<iframe sandbox='allow-scripts allow-top-navigation' {inner}></iframe>") == "unresolved"
    assert landing(f"<iframe sandbox {inner}></iframe>") == "stays"
