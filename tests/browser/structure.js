// What a reader who does not see the page, or jumps in it, would miss. A list of sentences.

function structure() {
  return [...headings(), ...tables(), ...figures(), ...ids()];
}

function named(element) {
  const by = (element.getAttribute("aria-labelledby") || "").split(" ").map((id) => document.getElementById(id));
  const label = element.getAttribute("aria-label") || by.map((one) => (one ? one.textContent : "")).join(" ");
  const own = element.querySelector(":scope > title, :scope > caption");
  return Boolean(label.trim() || (own && own.textContent.trim()));
}

function headings() {
  const all = [...document.querySelectorAll("h1, h2, h3, h4, h5, h6")], found = [];
  const tops = all.filter((one) => one.tagName === "H1").length;
  if (tops !== 1) found.push(`the page has ${tops} h1`);
  if (!document.title.trim()) found.push("the page has no title");
  let before = 0;
  for (const one of all) {
    const level = Number(one.tagName[1]);
    if (level > before + 1) found.push(`${nameOf(one)} follows ${before ? `h${before}` : "nothing"}`);
    if (!one.textContent.trim()) found.push(`an empty h${level}`);
    before = level;
  }
  return found;
}

function tables() {
  const found = [];
  for (const table of document.querySelectorAll("table:not([role=presentation], [role=none])")) {
    const heads = [...table.querySelectorAll("th")], name = nameOf(table);
    if (!named(table)) found.push(`${name} has neither caption nor label`);
    if (!heads.length) found.push(`${name} has no th`);
    if (heads.some((head) => !/^(row|col|rowgroup|colgroup)$/.test(head.getAttribute("scope") || ""))) found.push(`${name} has a th without scope`);
  }
  return found;
}

// One of several drawings of a figure, of which another is shown at this width.
function isForOtherWidths(svg) {
  const drawings = [...(svg.closest("figure")?.querySelectorAll("svg") ?? [])];
  return !svg.checkVisibility() && drawings.some((one) => one.checkVisibility());
}

function figures() {
  const found = [];
  for (const svg of document.querySelectorAll("svg")) {
    if (svg.ownerSVGElement || svg.closest("[aria-hidden=true]") || isForOtherWidths(svg)) continue;
    const box = svg.getBoundingClientRect(), name = nameOf(svg);
    if (svg.getAttribute("role") !== "img" || !named(svg)) found.push(`${name} is no role=img with a label or title`);
    if (box.width < 1 || box.height < 1) found.push(`${name} is ${box.width} x ${box.height} px large`);
    const drawn = [...svg.querySelectorAll(`${MARKS}, image`)].filter((mark) => {
      const at = mark.getBoundingClientRect();
      return isShown(mark) && at.width + at.height > 0 && (mark.tagName === "use" || mark.tagName === "image" || paint(mark, "fill") || paint(mark, "stroke"));
    });
    if (!drawn.length) found.push(`${name} has no mark`);
    for (const one of svg.querySelectorAll("*")) {
      for (const { name: key, value } of one.attributes) {
        if (/^(d|points|transform|x|y|x1|x2|y1|y2|cx|cy|r|width|height)$/.test(key) && /nan|inf|none|undefined/i.test(value)) found.push(`${name}: ${one.tagName} has ${key}="${value.slice(0, 30)}"`);
      }
    }
  }
  for (const picture of document.querySelectorAll("img")) {
    const silent = picture.closest("[aria-hidden=true], [role=presentation], [role=none]");
    if (!silent && !(picture.getAttribute("alt") || "").trim()) found.push(`${nameOf(picture)} has no alt`);
    if (picture.complete && !picture.naturalWidth) found.push(`${nameOf(picture)} "${picture.alt.slice(0, 40)}" shows no picture`);
  }
  for (const canvas of document.querySelectorAll("canvas")) found.push(`${nameOf(canvas)} is empty without scripts`);
  return found;
}

function ids() {
  const all = [...document.querySelectorAll("[id]")].map((one) => one.id), known = new Set(all);
  const twice = [...known].filter((id) => all.indexOf(id) !== all.lastIndexOf(id));
  const links = [...document.querySelectorAll("a[href^='#']")].map((one) => decodeURIComponent(one.hash.slice(1)));
  return [
    ...twice.map((id) => `id ${id} stands more than once`),
    ...links.filter((id) => id && !known.has(id)).map((id) => `a link leads to #${id}, which is not there`),
  ];
}
