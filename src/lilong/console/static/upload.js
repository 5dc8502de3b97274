// Uploads with progress: large files go by the Git LFS batch and signed links, the rest travels in the commit itself.
// Without this script the form sends small files in one request.
const form = document.querySelector("form[data-upload]");
if (form) start(form);

function start(form) {
  const said = form.dataset;
  const [input, folder] = form.querySelectorAll("input[type=file]");
  const drop = form.querySelector(".drop");
  const list = form.querySelector("tbody");
  const status = form.querySelector("[role=status]");
  const problem = form.querySelector("[role=alert]");
  const stop = form.querySelector("[data-stop]");
  const send = form.querySelector("button.primary");
  const waiting = new Map(); // path -> {file, row, bar, state}
  let running = null; // what Cancel ends

  input.required = false;
  folder.parentElement.hidden = false;
  const table = form.querySelector(".wide");

  function add(file, path) {
    const clean = path.replace(/\\/g, "/").replace(/^\/+/, "");
    if (waiting.has(clean)) waiting.get(clean).row.remove();
    const row = list.insertRow();
    const name = document.createElement("th");
    name.scope = "row";
    name.textContent = clean;
    row.append(name);
    row.insertCell().textContent = size(file.size);
    const bar = document.createElement("progress");
    bar.max = 1; bar.value = 0;
    bar.setAttribute("aria-label", clean);
    row.insertCell().append(bar);
    const state = row.insertCell();
    const away = document.createElement("button");
    away.type = "button";
    away.textContent = said.remove;
    away.setAttribute("aria-label", `${said.remove} ${clean}`);
    away.addEventListener("click", () => { row.remove(); waiting.delete(clean); table.hidden = !waiting.size; });
    row.insertCell().append(away);
    table.hidden = false;
    waiting.set(clean, { file, path: clean, row, bar, state, away });
  }

  for (const field of [input, folder]) field.addEventListener("change", () => {
    for (const file of field.files) add(file, file.webkitRelativePath || file.name);
    field.value = "";
    status.textContent = said.chosen.replace("{n}", waiting.size);
  });
  drop.addEventListener("dragover", (event) => { event.preventDefault(); drop.classList.add("over"); });
  drop.addEventListener("dragleave", () => drop.classList.remove("over"));
  drop.addEventListener("drop", async (event) => {
    event.preventDefault();
    drop.classList.remove("over");
    const entries = [...event.dataTransfer.items].map((item) => item.webkitGetAsEntry?.()).filter(Boolean);
    if (entries.length) for (const entry of entries) await walk(entry, "");
    else for (const file of event.dataTransfer.files) add(file, file.name);
    status.textContent = said.chosen.replace("{n}", waiting.size);
  });

  async function walk(entry, above) {
    if (entry.isFile) return add(await new Promise((done, failed) => entry.file(done, failed)), above + entry.name);
    const reader = entry.createReader();
    for (;;) {
      const some = await new Promise((done, failed) => reader.readEntries(done, failed));
      if (!some.length) return;
      for (const inner of some) await walk(inner, `${above}${entry.name}/`);
    }
  }

  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    problem.hidden = true;
    if (!waiting.size) return fail(said.nothing);
    send.disabled = true;
    stop.hidden = false;
    for (const one of waiting.values()) one.away.disabled = true;
    running = { stopped: false, end: () => {} };
    try {
      const done = await upload(running);
      status.textContent = said.done;
      location.assign(new URL(done.pullRequestUrl || done.commitUrl, location.href).pathname);
    } catch (error) {
      fail(running.stopped ? said.stopped : error.message);
    } finally {
      send.disabled = false;
      stop.hidden = true;
      for (const one of waiting.values()) one.away.disabled = false;
      running = null;
    }
  });
  stop.addEventListener("click", () => { if (running) { running.stopped = true; running.end(); } });

  function fail(text) {
    problem.textContent = text;
    problem.hidden = false;
    problem.focus();
  }

  async function upload(run) {
    const value = (name) => form.elements[name]?.value.trim() ?? "";
    const target = value("target"), proposes = target === "pull-request";
    const within = value("folder").replace(/^\/+|\/+$/g, "");
    const files = [...waiting.values()].map((one) => ({ ...one, path: within ? `${within}/${one.path}` : one.path }));
    let branch = said.revision;
    if (target === "new-branch") {
      branch = value("branch");
      if (!said.made || said.made !== branch) {
        await ask("POST", `${said.api}/branch/${encodeURIComponent(branch)}`, JSON.stringify({ startingPoint: said.revision }), run);
        said.made = branch; // so that trying again does not make it twice
      }
    }
    const at = encodeURIComponent(branch), query = proposes ? "?create_pr=1" : "";
    const modes = await sorted(files, `${said.api}/preupload/${at}${query}`, run);
    const lines = [JSON.stringify({ key: "header", value: { summary: value("message") || (files.length === 1 ? said.one.replace("{path}", () => files[0].path) : said.message.replace("{n}", files.length)), description: value("description") } })];
    for (const one of files) {
      const mode = modes.get(one.path);
      if (mode.shouldIgnore) { one.state.textContent = said.ignored; continue; }
      status.textContent = `${said.sending} ${one.path}`;
      if (mode.uploadMode === "lfs") {
        const oid = await digest(one, run);
        await sent(one, oid, run);
        lines.push(JSON.stringify({ key: "lfsFile", value: { path: one.path, algo: "sha256", oid, size: one.file.size } }));
      } else {
        lines.push(JSON.stringify({ key: "file", value: { path: one.path, content: await base64(one.file), encoding: "base64" } }));
      }
      one.bar.value = 1;
      one.state.textContent = said.ready;
    }
    if (lines.length === 1) throw new Error(said.nothing);
    status.textContent = said.committing;
    return ask("POST", `${said.api}/commit/${at}${query}`, new Blob([lines.join("\n")]), run, "application/x-ndjson");
  }

  async function sorted(files, url, run) {
    const found = new Map();
    for (let at = 0; at < files.length; at += 200) {
      const some = await Promise.all(files.slice(at, at + 200).map(async ({ path, file }) => ({ path, size: file.size, sample: await base64(file.slice(0, 512)) })));
      for (const mode of (await ask("POST", url, JSON.stringify({ files: some }), run)).files) found.set(mode.path, mode);
    }
    return found;
  }

  function digest(one, run) {
    one.state.textContent = said.reading;
    return new Promise((done, failed) => {
      const worker = new Worker(said.worker);
      const end = (deed, value) => { worker.terminate(); deed(value); };
      run.end = () => end(failed, new Error(said.stopped));
      worker.onerror = () => end(failed, new Error(said.unreadable));
      worker.onmessage = ({ data }) => {
        if (data.digest) end(done, data.digest);
        else if (data.problem) end(failed, new Error(`${said.unreadable} ${data.problem}`));
        else one.bar.value = (data.done / one.file.size) * 0.25;
      };
      worker.postMessage(one.file);
    });
  }

  async function sent(one, oid, run) {
    const wanted = { operation: "upload", transfers: ["basic"], hash_algo: "sha256", objects: [{ oid, size: one.file.size }] };
    const [object] = (await ask("POST", said.batch, JSON.stringify(wanted), run, "application/vnd.git-lfs+json")).objects;
    if (object.error) throw new Error(`${one.path}: ${object.error.message}`);
    if (!object.actions?.upload) return; // the house has it from us already
    one.state.textContent = said.uploading;
    const link = new URL(object.actions.upload.href, location.href);
    await ask("PUT", link.pathname + link.search, one.file, run, "application/octet-stream", object.actions.upload.header, (part) => { one.bar.value = 0.25 + part * 0.75; });
  }
}

function ask(method, url, body, run, type = "application/json", headers = {}, told = null) {
  return new Promise((done, failed) => {
    if (run.stopped) return failed(new Error("stopped"));
    const request = new XMLHttpRequest();
    run.end = () => request.abort();
    request.open(method, url);
    request.setRequestHeader("content-type", type);
    for (const [name, value] of Object.entries(headers || {})) request.setRequestHeader(name, value);
    if (told) request.upload.onprogress = (event) => told(event.loaded / (event.total || 1));
    request.onload = () => {
      let answer = {};
      try { answer = JSON.parse(request.responseText || "{}"); } catch { /* not every answer has a body */ }
      if (request.status < 300) done(answer);
      else failed(new Error(answer.error || answer.message || answer.detail || `${request.status}`));
    };
    request.onerror = () => failed(new Error("network"));
    request.onabort = () => failed(new Error("stopped"));
    request.send(body);
  });
}

function base64(blob) {
  return new Promise((done, failed) => {
    const reader = new FileReader();
    reader.onload = () => done(reader.result.slice(reader.result.indexOf(",") + 1));
    reader.onerror = () => failed(reader.error);
    reader.readAsDataURL(blob);
  });
}

function size(bytes) {
  for (const unit of ["B", "kB", "MB", "GB"]) {
    if (bytes < 1000) return unit === "B" ? `${bytes} B` : `${bytes.toFixed(1)} ${unit}`;
    bytes /= 1000;
  }
  return `${bytes.toFixed(1)} TB`;
}
