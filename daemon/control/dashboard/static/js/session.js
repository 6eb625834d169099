// The token: asked for if one is required. A read-only token sees nothing that carries data-needs="write".

import { get, token } from "./api.js";
import { $, setText } from "./dom.js";

const ANSWER_MS = 8000;
const TOKEN = /^[\x21-\x7e]{1,512}$/; // what an Authorization header can carry

let admission = null;

/** `name`: of the token that the daemon accepted; "settings": control.token. */
export const session = { name: null };

/** Resolves when the daemon admits this page; asks for a token until then, once however often it is called. */
export function signedIn(connection) {
  admission ??= admit(connection).finally(() => (admission = null));
  return admission;
}

async function admit(connection) {
  for (;;) {
    try {
      admitted(await get("/api/session", {}, ANSWER_MS));
      return;
    } catch (trouble) {
      if (trouble.status === 401) await ask(connection);
      else {
        connection.lost(trouble.message, trouble.status > 0);
        await connection.pause();
      }
    }
  }
}

function admitted({ name, may_write: mayWrite }) {
  session.name = name;
  document.documentElement.toggleAttribute("data-may-write", mayWrite);
  $("session").hidden = !token.get();
  setText($("session-name"), `${name === "settings" ? "token of the settings" : `token ${name}`}${mayWrite ? "" : " (read only)"}`);
  document.dispatchEvent(new CustomEvent("admitted"));
  $("sign-out").onclick = () => {
    token.set(null);
    location.reload();
  };
}

/** Resolves when a token was accepted; the form stays until then, so that password managers see what was right. */
function ask(connection) {
  const was = token.get();
  token.set(null);
  connection.waits();
  $("login").hidden = false;
  say(was ? "The token of this tab is no longer valid: it was revoked or replaced." : "");
  $("token").focus();
  return new Promise((done) => {
    $("login").onsubmit = async (event) => {
      event.preventDefault();
      if (await accepted($("token").value.trim().replace(/^bearer\s+/i, ""))) {
        $("login").hidden = true;
        $("token").value = "";
        done();
      }
    };
  });
}

async function accepted(given) {
  if (!TOKEN.test(given)) return refuse("This is not a token: a token has no blanks and only ASCII characters.");
  $("login-submit").disabled = true;
  say("");
  token.set(given);
  try {
    await get("/api/session", {}, ANSWER_MS);
    return true;
  } catch (trouble) {
    token.set(null);
    if (trouble.status !== 401) return refuse(`The token could not be checked: ${trouble.message}`);
    return refuse("This token is wrong: it is misspelt, was revoked, or belongs to another tracepool.");
  } finally {
    $("login-submit").disabled = false;
  }
}

function refuse(why) {
  say(why);
  $("token").focus();
  $("token").select();
  return false;
}

function say(why) {
  setText($("login-trouble"), why);
  if (why) $("token").setAttribute("aria-invalid", "true");
  else $("token").removeAttribute("aria-invalid");
}
