// The page's state in its URL: filters, order, range and zone. A reload and a shared link show the same.

export const fromUrl = (name) => new URLSearchParams(location.search).get(name) ?? "";

/** Empty values are left out of the URL. The history gets no entry: the Back button leaves the page. */
export function toUrl(values) {
  const all = new URLSearchParams(location.search);
  for (const [name, value] of Object.entries(values)) {
    if (value === "" || value === null || value === undefined) all.delete(name);
    else all.set(name, value);
  }
  const query = all.toString().replaceAll("%3A", ":").replaceAll("%2C", ",");
  const wanted = `${location.pathname}${query && `?${query}`}${location.hash}`;
  if (wanted !== location.pathname + location.search + location.hash) history.replaceState(history.state, "", wanted);
}

/** Keeps a field's value in the URL under `name`; `initial`: the value that is left out. */
export function keepField(field, name) {
  const initial = field.value;
  const given = fromUrl(name);
  if (given) field.value = given;
  if (field.value !== given && given) field.value = initial; // a select without this option
  field.addEventListener("input", () => toUrl({ [name]: field.value === initial ? "" : field.value }));
}

/** Keeps the fields of a form of filters in the URL, each as `prefix.NAME`. Call it before the first load. */
export function keepForm(form, prefix) {
  for (const field of form.elements) if (field.name) keepField(field, `${prefix}.${field.name}`);
  form.addEventListener("submit", (event) => event.preventDefault());
}
