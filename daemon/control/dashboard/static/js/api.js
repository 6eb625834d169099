// Talking to the daemon: the token, requests, the event stream. No cookies.

const KEY = "tracepool-token";

export class Trouble extends Error {
  constructor(status, text) {
    super(text);
    this.status = status;
  }
}

export const token = {
  get: () => sessionStorage.getItem(KEY),
  set: (value) => (value ? sessionStorage.setItem(KEY, value) : sessionStorage.removeItem(KEY)),
};

function headers(more = {}) {
  const given = token.get();
  return given ? { Authorization: `Bearer ${given}`, ...more } : more;
}

async function asked(path, options) {
  let answer;
  try {
    answer = await fetch(path, { cache: "no-store", credentials: "omit", ...options });
  } catch {
    throw new Trouble(0, "tracepool does not answer");
  }
  if (answer.ok) return answer;
  const problem = await answer.json().catch(() => ({}));
  throw new Trouble(answer.status, problem.detail ?? problem.title ?? `status ${answer.status}`);
}

export async function get(path, query = {}) {
  const given = Object.entries(query).filter(([, value]) => value !== "" && value !== null && value !== undefined);
  const tail = new URLSearchParams(given).toString();
  return (await asked(tail ? `${path}?${tail}` : path, { headers: headers() })).json();
}

export async function post(path, body = {}) {
  const options = { method: "POST", headers: headers({ "Content-Type": "application/json" }), body: JSON.stringify(body) };
  return (await asked(path, options)).json();
}

/** Reads the event stream until it ends; `tell(kind, body)` for each message. Raises Trouble. */
export async function follow(after, tell) {
  const more = { Accept: "text/event-stream", ...(after ? { "Last-Event-ID": after } : {}) };
  const answer = await asked("/api/events", { headers: headers(more) });
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  let text = "";
  for (;;) {
    let piece;
    try {
      piece = await reader.read();
    } catch {
      throw new Trouble(0, "the connection broke");
    }
    if (piece.done) return;
    const messages = (text + piece.value).split("\n\n");
    text = messages.pop();
    for (const message of messages) {
      const fields = Object.fromEntries(message.split("\n").map((line) => line.split(/: (.*)/s).slice(0, 2)));
      if (fields.event && fields.data) tell(fields.event, JSON.parse(fields.data));
    }
  }
}
