"use strict";
// The dashboard's moving parts: unpack the spectra, fill the list of planets, draw the chosen one, recolour the maps.
const page = JSON.parse(document.getElementById("data").textContent);
const list = document.getElementById("planets");
const dark = matchMedia("(prefers-color-scheme: dark)");
const model = name => Bokeh.documents.map(d => d.get_model_by_name(name)).find(found => found !== null);

async function unpack(text) {
  const bytes = Uint8Array.from(atob(text), c => c.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  const buffer = await new Response(stream).arrayBuffer();
  const [n, m] = [page.planets.length, page.wavelength.length];
  let at = 0;
  return page.arrays.map(() => {
    const low = new Float32Array(buffer.slice(at, at += 4 * n));
    const step = new Float32Array(buffer.slice(at, at += 4 * n));
    const steps = new Uint16Array(buffer.slice(at, at += 2 * n * m));
    return row => Array.from(steps.subarray(row * m, (row + 1) * m), q => 1e6 * (low[row] + q * step[row]));
  });
}

function show(row, rows) {
  const [mean, sigma] = [rows[0](row), rows[1](row)];
  const truth = rows.length > 2 ? rows[2](row) : mean.map(() => NaN);
  const columns = {x: page.wavelength, mean, low: mean.map((v, i) => v - sigma[i]), high: mean.map((v, i) => v + sigma[i]), truth};
  const cut = (a, b) => Object.fromEntries(Object.entries(columns).map(([name, v]) => [name, v.slice(a, b)]));
  model("fgs1").data = cut(0, 1);
  model("airs").data = cut(1);
  document.getElementById("caption").textContent = `${page.planets[row]}: ${page.captions[row]}`;
}

function fill(rows) {
  const wanted = document.getElementById("search").value.trim();
  list.replaceChildren(...page.planets.flatMap((planet, row) => planet.includes(wanted) ? [new Option(page.labels[row], row)] : []));
  if (list.options.length) { list.selectedIndex = 0; show(Number(list.value), rows); }
}

function ink() {
  const colour = dark.matches ? "#e6e6e6" : "#1a1a1a";
  for (const item of page.items) {
    const plot = model(item.target_id.replace("_plot", ""));
    for (const axis of [...plot.left, ...plot.below].filter(a => "axis_label_text_color" in a))
      axis.setv({axis_label_text_color: colour, major_label_text_color: colour});
    for (const bar of plot.right.filter(a => "color_mapper" in a)) bar.major_label_text_color = colour;
    for (const part of [...plot.center, ...plot.above].filter(a => "label_text_color" in a))
      part.setv({label_text_color: colour, background_fill_alpha: 0, border_line_alpha: 0});
  }
}

async function start() {
  const before = performance.now();
  for (const item of page.items) await Bokeh.embed.embed_item(item);
  ink();
  dark.addEventListener("change", ink);
  const rows = await unpack(page.packed);
  fill(rows);
  list.addEventListener("change", () => show(Number(list.value), rows));
  document.getElementById("search").addEventListener("input", () => fill(rows));
  for (const choice of document.querySelectorAll("select[data-kind]"))
    choice.addEventListener("change", () => {
      const source = model(`${choice.dataset.kind}_points`), values = source.data[choice.value];
      const known = Array.from(values).filter(Number.isFinite);
      model(`${choice.dataset.kind}_colours`).setv({low: Math.min(...known), high: Math.max(...known)});
      source.data = {...source.data, shade: values};
    });
  document.documentElement.dataset.drawn = Math.round(performance.now() - before);
}
start();
