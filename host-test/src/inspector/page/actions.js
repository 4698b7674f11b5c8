// What can be done with a request: sending it again, making a scenario of it.

/** Requests before the one that is meant that a scenario with a past has. */
const BEFORE = 200;

/** Sends a request again; its record is selected once it is there. */
async function replay(id) {
  if (store.report || id === null) return;
  const response = await fetch(`/inspect/api/requests/${id}/replay`, { method: "POST" });
  if (!response.ok) {
    toast(`Not sent: ${(await response.text()).trim()}`);
    return;
  }
  const { status, client } = await response.json();
  toast(`Sent again: ${status}`);
  selectWhenThere((row) => row.client === client);
}

/** The record comes by another way than the answer, and may be the later of the two. */
function selectWhenThere(fits) {
  const before = store.changed;
  const look = () => {
    const index = store.shown.findLastIndex(fits);
    if (index < 0) return false;
    selectAt(index);
    return true;
  };
  if (look()) return;
  store.changed = (gone) => {
    before(gone);
    if (look()) store.changed = before;
  };
}

async function copyScenario(id, before) {
  if (id === null) return;
  let text;
  if (store.report) {
    const { listener } = await detailOf(id);
    text = embedded.sources[listener] ?? "";
  } else {
    const response = await fetch(`/inspect/api/requests/${id}/scenario?before=${before}`);
    text = await response.text();
    if (!response.ok) {
      toast(`No scenario can be made of it: ${text.trim()}`);
      return;
    }
  }
  byId("scenario-title").textContent = store.report ? "The scenario that sent it"
    : before ? "Scenario, with the requests before it" : "Scenario";
  byId("scenario-text").value = text;
  byId("scenario").showModal();
  copyText(text);
}

async function copyText(text) {
  try {
    await navigator.clipboard.writeText(text);
    toast("Copied");
  } catch {
    // Not every page may: the text is selected, to be copied by hand.
    byId("scenario-text").select();
  }
}

byId("scenario-copy").addEventListener("click", () => copyText(byId("scenario-text").value));
