// The API client: the token, requests, the event stream. No cookies.

const KEY = "tracepool-token";

export class ApiError extends Error {
  /** status 0: no answer. errors: [{field, message}] of the fields that are wrong. */
  constructor(status, text, errors = []) {
    super(text);
    this.status = status;
    this.errors = errors;
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

async function request(path, options) {
  let answer;
  try {
    answer = await fetch(path, { cache: "no-store", credentials: "omit", ...options });
  } catch {
    throw new ApiError(0, "the daemon does not answer");
  }
  if (answer.ok) return answer;
  const problem = await answer.json().catch(() => ({}));
  throw new ApiError(answer.status, problem.detail ?? problem.error ?? problem.title ?? `the answer has status ${answer.status}`, problem.errors ?? []);
}

/** `within_ms`: how long the answer may take; without it, as long as it takes. */
export async function get(path, query = {}, within_ms = 0) {
  const given = Object.entries(query).filter(([, value]) => value !== "" && value !== null && value !== undefined);
  const tail = new URLSearchParams(given).toString();
  const signal = within_ms ? AbortSignal.timeout(within_ms) : undefined;
  return (await request(tail ? `${path}?${tail}` : path, { headers: headers(), signal })).json();
}

/** Downloads the answer as a file. Returns its bytes. A link could not carry the token. */
export async function save(path, query, name) {
  const given = Object.entries(query).filter(([, value]) => value !== "" && value !== null && value !== undefined);
  const content = await (await request(`${path}?${new URLSearchParams(given)}`, { headers: headers() })).blob().catch(() => {
    throw new ApiError(0, "the file broke off before its end: ask again, or for a shorter time");
  });
  const link = document.createElement("a");
  link.href = URL.createObjectURL(content);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
  return content.size;
}

/** The body and its version, for If-Match of a change. */
export async function getVersion(path) {
  const answer = await request(path, { headers: headers() });
  return { body: await answer.json(), version: answer.headers.get("ETag") };
}

async function send(method, path, body, more = {}, signal = undefined) {
  const options = { method, headers: headers({ "Content-Type": "application/json", ...more }), body: JSON.stringify(body), signal };
  return request(path, options);
}

export const post = async (path, body = {}, signal = undefined) => (await send("POST", path, body, {}, signal)).json();

/** The changed body and its version. */
export async function patch(path, body, version) {
  const answer = await send("PATCH", path, body, { "If-Match": version });
  return { body: await answer.json(), version: answer.headers.get("ETag") };
}

export async function remove(path, version) {
  return (await request(path, { method: "DELETE", headers: headers(version ? { "If-Match": version } : {}) })).json();
}

/** Sends a text or a file as it is. */
export async function postText(path, query, content) {
  const options = { method: "POST", headers: headers({ "Content-Type": "text/plain" }), body: content };
  return (await request(`${path}?${new URLSearchParams(query)}`, options)).json();
}

/** Reads the event stream until it ends or `signal` aborts it, and calls `receive(kind, body)` for each message. Throws ApiError. */
export async function follow(after, receive, signal) {
  const more = { Accept: "text/event-stream", ...(after ? { "Last-Event-ID": after } : {}) };
  const answer = await request("/api/events", { headers: headers(more), signal });
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  let text = "";
  for (;;) {
    let piece;
    try {
      piece = await reader.read();
    } catch {
      throw new ApiError(0, signal.aborted ? "the daemon sends nothing" : "the connection broke");
    }
    if (piece.done) return;
    const messages = (text + piece.value).split("\n\n");
    text = messages.pop();
    for (const message of messages) {
      const fields = Object.fromEntries(message.split("\n").map((line) => line.split(/: (.*)/s).slice(0, 2)));
      if (fields.event && fields.data) receive(fields.event, JSON.parse(fields.data));
    }
  }
}
