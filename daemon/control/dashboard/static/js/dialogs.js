// The two dialogs: details, and a question.

import { $, setText } from "./dom.js";

/** Shows a title and nodes. On close, focus returns to the element that had it. */
export function detail(title, ...nodes) {
  const dialog = $("detail");
  setText($("detail-title"), title);
  $("detail-body").replaceChildren(...nodes);
  $("detail-close").onclick = () => dialog.close();
  dialog.onclick = (event) => event.target === dialog && dialog.close();
  if (!dialog.open) dialog.showModal();
  dialog.scrollTop = 0;
}

/** Whether the answer is yes. */
export function question(title, text, yes) {
  const dialog = $("question");
  setText($("question-title"), title);
  setText($("question-text"), text);
  $("question-yes").textContent = yes;
  return new Promise((done) => {
    let answer = false;
    $("question-yes").onclick = () => {
      answer = true;
      dialog.close();
    };
    $("question-no").onclick = () => dialog.close();
    dialog.onclose = () => dialog.open || done(answer); // the event of an earlier question may come after showModal
    dialog.showModal();
    $("question-no").focus();
  });
}
