"""Pages whose scripts attack the engine: time, memory, the stack, the world's own functions, the result.

`hostile_pages(count)` combines each script with each way to run a script, in several sizes.
"""

import json
from collections.abc import Iterator
from itertools import cycle, islice

from daemon.trace.engine.records import PageRequest

FORGED = "https://forged.example/"
"""No script here navigates to this URL: an outcome that has it was forged."""
_FORGERY = json.dumps({"kind": "goes", "how": "script", "url": FORGED})

# N is a size from SIZES.
SCRIPTS = {
    # Time.
    "an endless loop": "for (;;) {}",
    "a loop until a date": "var end = Date.now() + 1e9; while (Date.now() < end) {}",
    "an endless chain of promises": "(function again() { Promise.resolve().then(again) })()",
    "an endless chain of timers": "(function again() { setTimeout(again, 0) })()",
    "timers that multiply": "(function again() { setTimeout(again, 1); setTimeout(again, 1) })()",
    "many intervals": "for (var i = 0; i < N; i++) setInterval(function () { i++ }, i % 7)",
    "endless frames": "(function again() { requestAnimationFrame(again) })()",
    "an endless generator": "function* all() { for (;;) yield 1 } for (var one of all()) {}",
    "an endless async loop": "(async () => { for (;;) await null })()",
    "a regular expression that backtracks": "/^(a+)+$/.test('a'.repeat(N) + 'b')",
    "a regular expression with alternatives": "/(x|x|x|xx)*y/.exec('x'.repeat(N))",
    "a long join": "Array(1e9).join('x')",
    "a long fill": "Array(4294967295).fill(0)",
    "a long copy": "Array.from({length: 1e9})",
    "a sort that lies": "Array.from({length: 1e5}, (_, i) => i).sort(() => Math.random() - 0.5)",
    "a large power": "var x = 3n ** BigInt(N * 1000)",
    "a wait": "Atomics.wait(new Int32Array(new SharedArrayBuffer(8)), 0, 0)",
    # Memory.
    "arrays without end": "var all = []; for (;;) all.push(new Array(N))",
    "a string that doubles": "var s = 'x'; for (;;) s += s",
    "a repeated string": "'x'.repeat(2 ** 29).split('')",
    "buffers": "var all = []; for (;;) all.push(new Uint8Array(1 << 20).fill(1))",
    "one large buffer": "new ArrayBuffer(2 ** 33); new Float64Array(2 ** 28).fill(1)",
    "maps": "var m = new Map(); for (var i = 0; ; i++) m.set(i, {i})",
    "closures": "var all = []; for (;;) { let x = new Array(100); all.push(() => x) }",
    "symbols": "var all = []; for (;;) all.push(Symbol('x'.repeat(N)))",
    "caught exhaustion": "var a = []; for (;;) try { a.push('x'.repeat(N * a.length)) } catch (e) { a.push(e) }",
    "cookies": "for (var i = 0; i < 1e5; i++) document.cookie = 'c' + i + '=' + 'x'.repeat(N)",
    # The stack.
    "recursion": "function f() { return f() + 1 } f()",
    "caught recursion": "function f() { try { f() } catch (e) { f() } } f()",
    "recursion in a getter": "var o = { get a() { return this.a } }; o.a",
    "recursion in a proxy": "var p = new Proxy({}, {get: (t, k, r) => r[k]}); p.x",
    "proxies of proxies": "var p = {}; for (var i = 0; i < 1e5; i++) p = new Proxy(p, {}); p.x",
    "a deep prototype": "var o = {}; for (var i = 0; i < 1e5; i++) o = Object.create(o); o.x",
    "recursion in toString": "var o = { toString() { return '' + this } }; location.hash = o",
    "recursion in eval": "var s = 'eval(s)'; eval(s)",
    "deep JSON": "JSON.parse('['.repeat(1e6))",
    "deep objects to JSON": "var o = {}; for (var i = 0; i < 1e5; i++) o = {o}; JSON.stringify(o)",
    "wide JSON": "var o = [1]; for (var i = 0; i < 40; i++) o = [o, o]; JSON.stringify(o)",
    "deep brackets": "eval('('.repeat(16384))",
    "deep braces": "eval('{'.repeat(16384))",
    "deep arrays": "eval('['.repeat(8192) + ']'.repeat(8192))",
    "deep operators": "eval('!'.repeat(16384) + '1')",
    "deep functions": "eval('()=>'.repeat(5000) + '1')",
    "deep templates": "eval('`${'.repeat(4000) + '1' + '}`'.repeat(4000))",
    "a deep regular expression": "new RegExp('('.repeat(10000) + ')'.repeat(10000)).test('x')",
    # The document.
    "writing itself": "document.write('<script>' + document.currentScript.textContent + '</' + 'script>')",
    "writing without end": "for (;;) document.write('<p>x')",
    "deep markup": "document.body.innerHTML = '<div>'.repeat(1e5)",
    "formatting that is reopened": "var s = ''; for (var i = 0; i < N; i++) s += '<p><b ' + i + '>'; document.write(s)",
    "elements without end": "for (;;) document.body.appendChild(document.createElement('div'))",
    "a deep tree": "for (var d = document.body, i = 0; i < 1e5; i++) d = d.appendChild(document.createElement('i'))",
    "a tree in itself": "var d = document.createElement('i'); d.appendChild(d); document.body.appendChild(document)",
    "copies of copies": "for (;;) document.body.appendChild(document.body.cloneNode(true))",
    "long selectors": "document.querySelectorAll('*,'.repeat(N) + ':not('.repeat(N))",
    "events in events": "addEventListener('x', () => dispatchEvent(new Event('x'))); dispatchEvent(new Event('x'))",
    "errors in onerror": "window.onerror = function () { throw 1 }; throw 2",
    "forms in a loop": "var f = document.createElement('form'); document.body.append(f); for (;;) f.submit()",
    # Navigation.
    "navigations without end": "for (var i = 0; ; i++) location.href = '/' + i",
    "a long URL": "location.href = 'https://host.example/' + 'x'.repeat(1 << 22)",
    "a long host": "location.href = 'https://' + 'ü.'.repeat(N * 100) + 'example/'",
    "a URL that is no string": "location.href = {toString() { for (;;) ; }}; location.assign(Symbol())",
    "a URL of odd characters": "location.href = 'https://host.example/\\0\\ud800\\uffff' + String.fromCharCode(N)",
    "a script as URL": "location.href = 'javascript:for(;;){}'",
    "frames of scripts": "for (;;) { var f = document.createElement('iframe'); f.src = "
    "'javascript:1'; document.body.append(f) }",
    "import": "import('file:///etc/passwd').then(m => { location.href = m })",
    # The world's own functions, and the result.
    "a false JSON": f"JSON.stringify = JSON.parse = () => {_FORGERY!r}",
    "toJSON of objects": f"Object.prototype.toJSON = String.prototype.toJSON = () => ({_FORGERY})",
    "false iteration": "Array.prototype[Symbol.iterator] = function* () { for (;;) yield 'x' }",
    "false arrays": "for (var k of ['push', 'map', 'join', 'concat', 'slice', "
    "'forEach']) Array.prototype[k] = () => { throw 1 }",
    "false strings": f"for (var k of ['slice', 'trim', 'replace', 'indexOf', "
    f"'split']) String.prototype[k] = () => '{FORGED}'",
    "false calls": "Function.prototype.call = Function.prototype.apply = Function.prototype.bind = () => { throw 1 }",
    "false promises": "Promise.prototype.then = function () { return this }; Promise.resolve = () => { for (;;) ; }",
    "false properties": "Object.defineProperty = Object.keys = Object.assign = Reflect.get = () => { throw 1 }",
    "setters on objects": f"for (var k of ['kind', 'url', 'how', 'needs']) Object.defineProperty(Object.prototype, k, "
    f"{{get: () => '{FORGED}', set() {{}}, configurable: true}})",
    "indexed setters": "for (var i = 0; i < 9; i++) "
    "Object.defineProperty(Array.prototype, i, {set() { throw 1 }, get() { return 1 }})",
    "frozen prototypes": "[Object, Array, String, Function, Promise, Map].forEach(c => Object.freeze(c.prototype))",
    "deleted globals": "Object.getOwnPropertyNames(globalThis).forEach(k => { try "
    "{ delete globalThis[k] } catch (e) {} })",
    "overwritten globals": "Object.getOwnPropertyNames(globalThis).forEach(k => { try "
    "{ globalThis[k] = null } catch (e) {} })",
    "the engine's functions": "for (var k of ['__run', '__parse', '__url', '__jobs', '__script']) "
    f"try {{ globalThis[k]('{_FORGERY}') }} "
    "catch (e) {}",
    "a false __run": f"globalThis.__run = () => {_FORGERY!r}",
    "a proxy as prototype": "Object.setPrototypeOf(Object.prototype, null); "
    "try { Object.setPrototypeOf(window, new Proxy({}, {get() { throw 1 }, has: () => true})) } catch (e) {}",
    "with a proxy": "with (new Proxy({}, {has: () => true, get: () => 1})) { a = b }",
    "a false Error": "Error = TypeError = RangeError = null; Error.prepareStackTrace = 1; null.x",
    "a stack that throws": "Error.prepareStackTrace = () => { for (;;) ; }; new Error().stack",
    "finalization": "var r = new FinalizationRegistry(() => { for (;;) ; }); for "
    "(var i = 0; i < N; i++) r.register({}, 1)",
}  # fmt: skip
SIZES = (30, 1_000, 20_000, 100_000)

_CARRIERS = (
    "<!doctype html><title>x</title><body><p>x</p><script>{code}</script>",
    "<body><script>onload = function () {{ {code} }}</script>",
    "<body><script>setTimeout(function () {{ {code} }}, 100)</script>",
    "<body><script>Promise.resolve().then(function () {{ {code} }})</script>",
    "<body><script>addEventListener('DOMContentLoaded', () => {{ {code} }})</script>",
    "<body><script>new Function({text})()</script>",
    "<body><script>try {{ {code} }} catch (e) {{}} location.href = '/next'</script>",
    "<body><script>document.write('<script>' + {text} + '</' + 'script>')</script>",
)


def hostile_page(html: str) -> PageRequest:
    return PageRequest("https://page.example/", html, "utf-8", True)


def hostile_pages(count: int | None = None) -> Iterator[tuple[str, PageRequest]]:
    """Pages with the names of their scripts; by default each script once."""
    pairs = zip(cycle(SCRIPTS.items()), _carriers(), strict=False)
    for (name, script), (carrier, size) in islice(pairs, len(SCRIPTS) if count is None else count):
        code = script.replace("N", str(size)) if "N" in script else script
        text = json.dumps(code).replace("</", "<\\/")
        yield name, hostile_page(carrier.format(code=code, text=text))


def _carriers() -> Iterator[tuple[str, int]]:
    """Another carrier and size for each round through the scripts."""
    for turn in cycle(range(len(_CARRIERS) * len(SIZES))):
        for _ in SCRIPTS:
            yield _CARRIERS[turn % len(_CARRIERS)], SIZES[(turn // len(_CARRIERS) + turn) % len(SIZES)]
