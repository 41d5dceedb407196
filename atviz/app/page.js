"use strict";
// The page of a run: sliders over sprite sheets, figures that zoom, tables that sort and download. Texts are set as text, never as HTML.
(() => {
  const all = (selector, place = document) => [...place.querySelectorAll(selector)];
  const one = (selector, place = document) => place.querySelector(selector);
  document.documentElement.classList.add("js");

  // contents: folded in a narrow window; a link opens the notebook that it leads to
  const contents = one("#contents details");
  const narrow = matchMedia("(max-width: 1099px)");
  const fold = () => { contents.open = !narrow.matches; };
  narrow.addEventListener("change", fold);
  fold();
  one("#contents").addEventListener("click", event => { if (event.target.closest("a") && narrow.matches) contents.open = false; });
  const reveal = () => {
    const place = location.hash && document.getElementById(decodeURIComponent(location.hash.slice(1)));
    if (!place) return;
    for (let outer = place; outer; outer = outer.parentElement) if (outer.tagName === "DETAILS") outer.open = true;
    place.scrollIntoView();
  };
  addEventListener("hashchange", reveal);
  if (location.hash) reveal();

  // findings: details of a row
  all("button.more").forEach(button => {
    const details = document.getElementById(button.getAttribute("aria-controls"));
    details.hidden = true;
    button.hidden = false;
    button.addEventListener("click", () => {
      details.hidden = !details.hidden;
      button.setAttribute("aria-expanded", String(!details.hidden));
    });
  });

  // tables: sort by a column's head, download as CSV
  const value = cell => cell.dataset.sort ?? cell.textContent.trim();
  const number = text => (/^[+−-]?[\d.,]+(e[+-]?\d+)?( ?%)?$/i.test(text) ? parseFloat(text.replace("−", "-").replaceAll(",", "")) : NaN);
  const compare = (a, b) => (isNaN(number(a)) || isNaN(number(b)) ? a.localeCompare(b, "en") : number(a) - number(b));
  all("table.sortable").forEach(table => all("thead th:not([data-plain])", table).forEach(head => {
    const column = [...head.parentElement.children].indexOf(head);
    const button = document.createElement("button");
    button.type = "button";
    button.className = "sort";
    button.append(...head.childNodes);
    head.append(button);
    button.addEventListener("click", () => {
      const down = head.getAttribute("aria-sort") === "ascending";
      all("thead th", table).forEach(other => other.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", down ? "descending" : "ascending");
      const groups = table.tBodies.length > 1 ? [...table.tBodies] : [...(table.tBodies[0]?.rows ?? [])];
      const parent = table.tBodies.length > 1 ? table : table.tBodies[0];
      const key = group => value((group.rows ? group.rows[0] : group).cells[column]);
      groups.sort((a, b) => (down ? -1 : 1) * compare(key(a), key(b))).forEach(group => parent.append(group));
    });
  }));
  all("button.download").forEach(button => {
    button.hidden = false;
    button.addEventListener("click", () => {
      const table = document.getElementById(button.dataset.table);
      const quoted = text => `"${text.replace(/\s+/g, " ").trim().replaceAll('"', '""')}"`;
      const rows = [all("thead th:not([data-plain])", table), ...all("tr.finding", table).map(row => all(":scope > :not(.chart)", row))];
      const lines = rows.map((row, i) => row.map(cell => quoted(cell.classList.contains("verdict") ? cell.dataset.sort : cell.innerText))
        .concat(i ? quoted(all("li", row[0].closest("tbody")).map(item => item.textContent).join(" ")) : quoted("cautions")).join(","));
      const link = document.createElement("a");
      link.href = URL.createObjectURL(new Blob([`\uFEFF${lines.join("\r\n")}\r\n`], { type: "text/csv" }));
      link.download = `${button.dataset.table}.csv`;
      link.click();
      setTimeout(() => URL.revokeObjectURL(link.href), 1000);
    });
  });

  // figures: a dialog that fits the window, or shows every pixel
  const dialog = one("#zoom");
  const large = one("img", dialog);
  const scale = one(".scale", dialog);
  const size = full => {
    dialog.classList.toggle("full", full);
    scale.textContent = full ? "Fit to window" : "Actual size";
  };
  all("a.zoom").forEach(link => link.addEventListener("click", event => {
    event.preventDefault();
    const image = one("img", link);
    large.src = image.src;
    large.alt = image.alt;
    one("p", dialog).textContent = image.alt;
    size(false);
    dialog.showModal();
  }));
  const turn = () => size(!dialog.classList.contains("full"));
  scale.addEventListener("click", turn);
  large.addEventListener("click", turn);
  dialog.addEventListener("click", event => { if (event.target === dialog) dialog.close(); });

  // print: everything that is folded but the tables
  let folded = [];
  addEventListener("beforeprint", () => {
    folded = all("details:not([open]):not(.table)");
    folded.forEach(part => { part.open = true; });
  });
  addEventListener("afterprint", () => folded.forEach(part => { part.open = false; }));

  // sliders
  const source = one("#sliders-data");
  if (!source) return;
  const data = JSON.parse(source.textContent);
  const explorer = one("#explorer");
  explorer.hidden = false;
  const sheet = (element, name) => {
    if (element.dataset.painted === name) return;
    element.dataset.painted = name;
    element.style.backgroundImage = `url(${data.sheets[name]})`;
  };
  all(".sprite[data-sheet]").forEach(element => sheet(element, element.dataset.sheet));
  const place = (element, row, column, columns = data.columns) => {
    element.style.setProperty("--row", row);
    element.style.setProperty("--column", column);
    element.style.setProperty("--columns", columns);
  };
  const ranges = all("input[type=range]", explorer);
  const sliders = Object.fromEntries(data.sliders.map(slider => [slider.name, slider]));
  const percent = (part, whole) => `${(100 * part / whole).toFixed(1)} %`;
  const count = n => n.toLocaleString("en-US");
  let image = 0;
  let active = null;
  let spoken = 0;

  const share = found => {
    if (!found) return "Share of test images still right: not measured at this stop.";
    const now = `${percent(found.right, data.n)} of all ${count(data.n)} are right`;
    if (found.both === null || !found.clean) return `${now}; without a distortion: not measured.`;
    return `${percent(found.both, found.clean)} still right, of the ${count(found.clean)} test images that are right unchanged (accuracy on correct); ${now}.`;
  };
  const bars = (view, model, label) => view.classes.map((number, i) => {
    const row = document.createElement("tr");
    const [name, value, line] = ["th", "td", "td"].map(tag => document.createElement(tag));
    name.scope = "row";
    name.textContent = data.classes[number] + (number === label ? " ✓" : "");
    value.textContent = `${view.p[model][i].toFixed(1)} %`;
    const bar = document.createElement("span");
    bar.style.width = `${view.p[model][i]}%`;
    bar.style.background = data.models[model].color;
    line.append(bar);
    row.className = number === label ? "true" : "";
    row.append(name, line, value);
    return row;
  });

  const draw = () => {
    const stop = active ? sliders[active.dataset.name].stops[Number(active.value)] : { column: 0, words: "unchanged" };
    const column = stop.column;
    const view = data.views[image][column];
    const label = data.images[image].label;
    const attacked = column >= data.attacked_from;
    const what = `Test image ${data.images[image].number}, ${data.classes[label]}`;
    place(one("#original"), image, 0);
    one("#original").setAttribute("aria-label", `${what}, unchanged`);
    place(one("#distorted"), image, column);
    one("#distorted").setAttribute("aria-label", `${what}, ${attacked ? "before the attack" : stop.words}`);
    one("#what").textContent = attacked ? "before the attack" : stop.words;
    ranges.forEach(range => {
      const at = sliders[range.dataset.name].stops[Number(range.value)];
      range.setAttribute("aria-valuetext", at.words);
      one(`#said-${range.dataset.name}`).textContent = at.label;
      range.closest(".range").classList.toggle("moved", at.column !== 0);
    });
    const said = data.models.map((model, i) => {
      const given = one(`.given[data-model="${i}"]`);
      sheet(given, attacked ? `seen-${i}` : "shown");
      if (attacked) place(given, image, column - data.attacked_from, data.columns - data.attacked_from);
      else place(given, image, column);
      given.setAttribute("aria-label", `What ${model.name} is given: ${what}, ${stop.words}`);
      const map = one(`.map[data-model="${i}"]`);
      place(map, image, column);
      map.setAttribute("aria-label", `Saliency map of ${model.name}: ${what}, ${stop.words}`);
      const answer = one(`.network-answer[data-model="${i}"]`);
      const top = view.top[i];
      const guess = `${data.classes[top]}, ${top === label ? "right" : `wrong (it is ${data.classes[label]})`}`;
      one(".guess", answer).textContent = `Answers ${guess}.`;
      one("tbody", answer).replaceChildren(...bars(view, i, label));
      one(".share", answer).textContent = share(data.shares[column][i]);
      const found = data.shares[column][i];
      const still = found?.clean ? `${percent(found.both, found.clean)} still right` : "not measured";
      one(`.brief[data-model="${i}"]`).replaceChildren(`${data.classes[top]}${top === label ? " ✓" : " ✗"}`, document.createElement("br"), still);
      return `${model.name}: ${guess}. ${share(data.shares[column][i])}`;
    });
    clearTimeout(spoken);  // a screen reader is told where a slider comes to rest
    spoken = setTimeout(() => { one("#live").textContent = `${stop.words}. ${said.join(" ")}`; }, 400);
    explorer.dataset.drawn = `${image} ${column}`;
  };

  const back = except => ranges.forEach(range => { if (range !== except) range.value = sliders[range.dataset.name].start; });
  ranges.forEach(range => range.addEventListener("input", () => {
    active = range;
    back(range);
    draw();
  }));
  one("#reset").addEventListener("click", () => { active = null; back(null); draw(); });
  all("input[name=image]", explorer).forEach(choice => {
    choice.checked = choice.value === "0";
    choice.addEventListener("change", () => { image = Number(choice.value); draw(); });
  });
  back(null);
  draw();
})();
