"""Whether the scripts of a page may leave it by themselves."""

from math import inf

import pytest
from ada_url import URL
from hypothesis import given
from hypothesis import strategies as st

from daemon.trace.page.bounds import Steps
from daemon.trace.page.html import Page, Source, read_page
from daemon.trace.page.page_scripts import PageScripts

URL_HERE = URL("http://ads.example/")


def after_s(*codes: str) -> float | None:
    scripts = PageScripts(10, Steps())
    for code in codes:
        scripts.add({}, code, URL_HERE)
    return scripts.leaves_after_s()


def read(page: str) -> Page:
    return read_page(page.encode(), Source(URL_HERE, "utf-8", 10), whole=True)


@pytest.mark.parametrize(
    "code",
    [
        "location = next()",
        "a && (location = '/a')",
        "a ? location.replace(b) : 0",
        "if (a) location.href = '/a'; else stay()",
        "while (a) { location.assign(b) }",
        "switch (a) { case 1: top.location = '/a' }",
        "try { a() } finally { location = '/a' }",
        "location['href'] = a",
        "location['hr' + 'ef'] = '/a'",
        "window['location'] = a",
        "window['loc' + 'ation'] = '/a'",
        "self[atob('bG9jYXRpb24=')] = '/a'",
        "location.pathname += 'x'",
        "location.reload()",
        "location.replace.call(location, a)",
        "(window.parent || window).location = a",
        "var l = location; l.href = a",
        "var w = window, l = w.location; l.replace(a)",
        "var {location: l} = window; l.href = a",
        "'' + {toString() { location = a }}",
        "(0, eval)(a)",
        "(function (l) { l.href = a })(window.location)",
        "(function (w) { w.location.href = a })(window)",
        "Object.assign(location, {href: a})",
        "Reflect.set(location, 'href', a)",
        "navigation.navigate(a)",
        "window.open(a, '_self')",
        "open('/a', '_TOP')",
        "var t = '_self'; window.open(a, t)",
        "var t = '_top'; open(a, t, 'noopener')",
        "with (location) href = a",
        "var w = window, k = 'location'; w[k] = a",
        "const k = 'location'; window[k].replace(a)",
        "form().submit()",
        "f['submit']()",
        "HTMLFormElement.prototype.submit.call(f)",
        "f.requestSubmit(b)",
        "document.getElementById('a').click()",
        "a.dispatchEvent(new MouseEvent('click'))",
        "$('#f').trigger('submit')",
        "eval(a)",
        "eval(\"location = '/a'\")",
        "window.eval('location = b')",
        "new Function('location = b')()",
        "Function('a', 'location = b')(c)",
        "[].filter.constructor('location = b')()",
        "setTimeout('location = \"' + a + '\"')",
        "setTimeout('go()'); function go() { location = a }",
        'document.write(\'<meta http-equiv="refresh" content="0;url=/a">\')',
        "document.write('<script>location = 1<\\/script>')",
        "document.write('<form action=/a><\\/form>' + '<body onload=\"document.forms[0].submit()\">')",
        "document.write(unescape('%3Cscript%3Elocation.href=a%3C/script%3E'))",
        "document.write(atob(a))",
        "document.head.innerHTML = '<meta http-equiv=refresh content=0>'",
        "var m = document.createElement('meta'); m.httpEquiv = 'refresh'; m.content = a; h.appendChild(m)",
        "m.setAttribute('http-equiv', 'Refresh')",
        "var s = document.createElement('script'); s.text = \"location.href = '/a'\"; b.appendChild(s)",
        "var c = 'location.replace(a)'; setTimeout(c, 10)",
        "fetch(a).then(r => r.json()).then(r => { location = r.url })",
        "fetch(a).finally(() => location.replace(b))",
        "new Promise(go).then(x); function go() { location = a }",
        "i.onload = i.onerror = function () { location = a }",
        "window.onload = go; var go = function () { location = a }",
        "addEventListener('load', () => location = a)",
        "document.addEventListener('readystatechange', function () { location = a })",
        "$(function () { location = a })",
        "jQuery(document).ready(() => { $('#f').submit() })",
        "gtag('event', 'a', {event_callback: function () { location = a }})",
        "$.ajax({url: a, success(r) { location = r }})",
        "const app = {go() { location = a }}; app.go()",
        "class A { constructor() { this.go() } go() { location = a } } new A()",
        "(async () => { await a; location = b })()",
        "!function () { location = a }()",
        "a(function () { return function () { location = b } })",
        "function a() { b() } function b() { location = c } a()",
        "if (top === self) { location = a }",
        "if (top != self) stay()\nlocation = a",
        "if (top != name) { location = a }",
        "if (top != self) { stay() } else { location = a }",
        "location = '/a",
        "location = '/a' }",
        "if (a) { location = b",
        "loc\\u0061tion = '/a'",
        "window['\\x6c\\x6f\\x63\\x61tion'] = a",
    ],
)
def test_a_script_that_may_leave_by_itself_is_noticed(code: str) -> None:
    assert after_s(code) == 0
    assert after_s(code + "\n// " + "long " * 100) == 0


# What ordinary landing pages have in their scripts.
STAYS = [
    "",
    "var a = location.href; send(document.location, location.search.replace('?', ''))",
    "if (location.pathname == '/a' && location['hash'] !== '') { b() }",
    "location.hash = 'top'",
    "var t = '_blank'; window.open(a, t); window.open(b, c)",
    "var k = 'location'; send(window[k]); a[k]",
    "var l = window.location; a(l.hash, l.href.replace('x', 'y')); l = 0",
    "history.pushState({}, '', '/a'); history.replaceState(a, b, location.href)",
    "var s = \"location = '/a'\"; // location = '/a'\n/* location = '/a' */",
    "button.onclick = function () { location = '/a' }",
    "button.onclick = () => location.href = '/a'",
    "document.addEventListener('click', function () { location = '/a' })",
    "a.addEventListener('submit', e => { e.preventDefault(); f.submit() })",
    "$('.a').click(function () { location.href = $(this).data('url') })",
    "$('#f').submit(function () { return check(this) })",
    "$(document).on('click', '.a', function () { location = b }).on('touchstart.menu keyup', () => location = a)",
    "$(function () { $('a').on('click', go); function go() { location = '/a' } })",
    "$('a').on({click: function () { location = b }, mouseenter: function () { location.reload() }})",
    "function go() { location = '/a' }",
    "async function go() { location = '/a' }",
    "var go = function () { location = '/a' }, stay = () => { location.reload() }",
    "window.go = function () { location.href = '/a' }",
    "var app = {init: function () { a() }, go: function () { location = b }}; app.init()",
    "class A { go() { location = '/a' } }",
    "new Vue({el: '#a', data: {b: 1}, mounted() { c() }, methods: {go() { location = d }}})",
    "if (top != self) { top.location = self.location }",
    "if (window.top !== window.self) window.top.location.replace(window.location.href);",
    "if (top != self) top.location = self.location",
    "if (top != self)\n  top.location = self.location\na()",
    "if (self == top) { a() } else { top.location = self.location }",
    "window.addEventListener('beforeunload', function () { location = a }); onpagehide = function () { location = a }",
    "setTimeout(function () { location = '/a' }, 60000); setInterval(() => location.reload(), 30 * 1000)",
    "window.open('/a'); window.open(url, '_blank', 'width=1'); request.open('GET', url, true)",
    "document.write(new Date().getFullYear())",
    "document.write('<script src=\"//stats.example/a.js\"><\\/script>')",
    "document.write(unescape(\"%3Cscript src='\" + host + \"stats.example/ga.js'%3E%3C/script%3E\"))",
    "opener.location.reload(); frame.contentWindow.location.replace(a)",
    "map.setLocation({location: here}); var x = {location: '/a'}",
    "e = Function('return this')() || eval('this')",
    "(function(w,d,s,l,i){w[l]=w[l]||[];w[l].push({'gtm.start':new Date().getTime(),event:'gtm.js'});"
    "var f=d.getElementsByTagName(s)[0],j=d.createElement(s),dl=l!='dataLayer'?'&l='+l:'';j.async=true;"
    "j.src='https://www.googletagmanager.com/gtm.js?id='+i+dl;f.parentNode.insertBefore(j,f);"
    "})(window,document,'script','dataLayer','GTM-1');",
    "!function(f,b,e,v,n,t,s){if(f.fbq)return;n=f.fbq=function(){n.callMethod?n.callMethod.apply(n,arguments):"
    "n.queue.push(arguments)};if(!f._fbq)f._fbq=n;n.push=n;n.loaded=!0;n.queue=[];t=b.createElement(e);t.async=!0;"
    "t.src=v;s=b.getElementsByTagName(e)[0];s.parentNode.insertBefore(t,s)}(window,document,'script',"
    "'https://connect.facebook.net/en_US/fbevents.js');fbq('init','1');fbq('track','PageView');",
    "window.dataLayer=window.dataLayer||[];function gtag(){dataLayer.push(arguments);}gtag('js',new Date());",
    "(function(h,o,t,j,a,r){h.hj=h.hj||function(){(h.hj.q=h.hj.q||[]).push(arguments)};h._s={id:1};"
    "a=o.getElementsByTagName('head')[0];r=o.createElement('script');r.async=1;r.src=t+h._s.id+j;a.appendChild(r);"
    "})(window,document,'https://static.hotjar.com/c/hotjar-','.js?sv=');",
]  # fmt: skip


@pytest.mark.parametrize("code", STAYS)
def test_an_ordinary_script_stays(code: str) -> None:
    assert after_s(code) is None


def test_the_scripts_of_a_page_call_each_others_functions() -> None:
    go = "function go() { location = a }"
    assert after_s(go) is None
    assert after_s(go, "go()") == 0
    assert after_s("go()", go) == 0
    assert after_s(go, "$(go)") == 0
    assert after_s(go, "$('a').click(go)") is None
    assert after_s(go, "setTimeout(go, 2500)") == 2.5


@pytest.mark.parametrize(
    ("code", "s"),
    [
        ("setTimeout(function () { location = '/a' }, 1500)", 1.5),
        ("setTimeout(() => { setTimeout(() => location = '/a', 4000) }, 2000)", 4),
        ("setTimeout('location = 1', 3000)", 3),
        ("setTimeout(function () { location = '/a' }, 2 * 1000)", 2),
        ("setTimeout(function () { location = '/a' }, delay)", 0),
        ("setTimeout(function () { location = '/a' })", 0),
        ("setInterval(function () { if (!--n) location = '/a' }, 1e3)", 1),
        ("setTimeout(go, 5000); setTimeout(go, 3000); function go() { location = a }", 3),
    ],
)
def test_a_timer_says_when_a_script_may_leave(code: str, s: float) -> None:
    assert after_s(code) == s


@pytest.mark.parametrize(
    "element",
    [
        "<img src=x onerror=\"location='/a'\">",
        "<img srcset=x onload=\"location='/a'\">",
        "<svg onload=\"location='/a'\">",
        "<script src=//code.jquery.com/a.js onerror=\"location='/a'\"></script>",
        "<style onload='go()'></style><script>function go() { location = a }</script>",
        "<input autofocus onfocus=\"location='/a'\">",
        "<details open ontoggle=\"location='/a'\">",
        "<body onpageshow=\"location='/a'\">",
        "<iframe src=\"javascript:top.location='/a'\"></iframe>",
        '<iframe srcdoc="<script>top.location=1</script>"></iframe>',
        "<script>location = 'javascript:location=1'</script>",
        "<script src=/a.js></script><noscript><meta http-equiv=refresh content='0;/a'></noscript>",
    ],
)
def test_an_element_that_may_leave_at_the_load_is_noticed(element: str) -> None:
    assert (read(element).jump, read(element).unresolved) == (None, True)


@pytest.mark.parametrize(
    "element",
    [
        "<a href=# onclick=\"location='/a'\">",
        "<img onload=\"location='/a'\">",
        '<input onfocus="location=\'/a\'" onchange="this.form.submit()">',
        "<body onunload=\"location='/a'\" onbeforeunload=\"location='/a'\" onresize=\"location='/a'\">",
        "<img src=x onerror=\"this.src='/y'\" onload='a()'>",
        "<iframe src=about:blank></iframe><iframe src=\"javascript:''\"></iframe>",
        "<script for=window event=onclick>location='/a'</script>",
        "<script type='text/javascript; charset=utf-8'>location='/a'</script>",
        "<script>location = 'javascript:void(0)'</script>",
        "<script src=/a.js></script><noscript><img src=/a.gif></noscript>",
        "<noscript><meta http-equiv=refresh content='0;/a'></noscript>",
    ],
)
def test_an_element_that_stays_until_the_visitor_acts_is_no_jump(element: str) -> None:
    assert (read(element).jump, read(element).unresolved) == (None, False)


WORDS = st.sampled_from(
    [*"(){}[];,.=+?:!<>'`$ \n", "location", "href", "if", "else", "function", "=>", "async", "a", "b", "onload",
     "click",
     "setTimeout", "setInterval", "eval", "write", "open", "submit", "top", "!=", "'/a'", "'click'", "0", "1000",
     "class", "addEventListener", "on", "Event", "constructor", "location=1", "window['location']"]
)  # fmt: skip


@given(st.lists(WORDS, max_size=60).map(" ".join) | st.lists(WORDS, max_size=60).map("".join))
def test_no_script_raises(code: str) -> None:
    found = after_s(code, "a();" + code)
    assert found is None or 0 <= found < inf
