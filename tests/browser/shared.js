// What the other scripts use: what is seen of a page, where, and in which colour.

const UNDRAWN = "defs, clipPath, mask, pattern, symbol, marker, title, desc, metadata, style, script, template";
const MARKS = "path, line, polyline, polygon, rect, circle, ellipse, use";

const hidden = new Map();

function isForReadersOfScreens(element) {
  if (!element) return false;
  if (!hidden.has(element)) {
    const box = element.getBoundingClientRect(), style = getComputedStyle(element);
    const tiny = style.position === "absolute" && style.overflow !== "visible" && box.width <= 1.5 && box.height <= 1.5;
    hidden.set(element, tiny || isForReadersOfScreens(element.parentElement));
  }
  return hidden.get(element);
}

function isShown(element) {
  return !element.closest(UNDRAWN) && element.checkVisibility({ opacityProperty: true, visibilityProperty: true })
    && !isForReadersOfScreens(element);
}

function nameOf(element) {
  const text = (element.getAttribute("aria-label") || element.textContent || "").trim().replace(/\s+/g, " ");
  const mark = element.id ? `#${element.id}` : element.classList.length ? `.${element.classList[0]}` : "";
  const within = element.ownerSVGElement ? nameOf(outermost(element)) + " " : "";
  if (element.tagName === "svg") {
    const place = [...document.querySelectorAll("svg")].filter((one) => !one.ownerSVGElement).indexOf(element) + 1;
    return `figure ${place} "${(element.getAttribute("aria-label") || "").slice(0, 30)}"`;
  }
  return `${within}${element.tagName.toLowerCase()}${mark}${text ? ` "${text.slice(0, 40)}"` : ""}`;
}

function outermost(element) {
  let svg = element.ownerSVGElement || element;
  while (svg.ownerSVGElement) svg = svg.ownerSVGElement;
  return svg;
}

// The four corners of a box on the screen. Of the height of a line, only that of a capital letter counts as ink.
function corners(box, matrix, ink) {
  const top = box.y + (ink ? 0.2 * box.height : 0), bottom = box.y + (ink ? 0.8 : 1) * box.height;
  const points = [[box.x, top], [box.x + box.width, top], [box.x + box.width, bottom], [box.x, bottom]];
  return points.map(([x, y]) => {
    const point = new DOMPoint(x, y).matrixTransform(matrix);
    return [point.x, point.y];
  });
}

function boxAround(points) {
  const xs = points.map((point) => point[0]), ys = points.map((point) => point[1]);
  const [left, top] = [Math.min(...xs), Math.min(...ys)];
  return new DOMRect(left, top, Math.max(...xs) - left, Math.max(...ys) - top);
}

// About the size of the font of a piece of text, in CSS pixels on the screen.
function fontSize(quad) {
  return Math.hypot(quad[3][0] - quad[0][0], quad[3][1] - quad[0][1]) / 0.7;
}

// Every piece of text that is seen: {element, text, quad} with the corners of its ink on the screen.
function pieces() {
  const found = [], walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT), still = new DOMMatrix();
  for (let node = walker.nextNode(); node; node = walker.nextNode()) {
    const element = node.parentElement;
    if (!node.data.trim() || element.ownerSVGElement || !isShown(element)) continue;
    const range = document.createRange();
    range.selectNodeContents(node);
    for (const box of range.getClientRects()) {
      if (box.width > 0.5 && box.height > 0.5) found.push({ element, text: node.data.trim(), quad: corners(box, still, true) });
    }
  }
  for (const text of document.querySelectorAll("svg text")) {
    const spans = [...text.querySelectorAll("tspan")].filter((span) => !span.children.length);
    const mixed = [...text.childNodes].some((node) => node.nodeType === 3 && node.data.trim());
    for (const element of spans.length && !mixed ? spans : [text]) {
      const matrix = element.getScreenCTM() || text.getScreenCTM(), written = element.textContent.trim();
      if (!written || !matrix || !isShown(element)) continue;
      const chars = [];
      for (let i = 0; i < element.getNumberOfChars(); i++) chars.push(element.getExtentOfChar(i));
      const inked = chars.filter((box) => box.width > 0);
      if (!inked.length) continue;
      const all = boxAround(inked.flatMap((box) => [[box.x, box.y], [box.x + box.width, box.y + box.height]]));
      found.push({ element, text: written, quad: corners(all, matrix, true) });
    }
  }
  return found;
}

const pen = Object.assign(document.createElement("canvas"), { width: 1, height: 1 })
  .getContext("2d", { willReadFrequently: true });

// Any CSS colour as [red, green, blue, opacity] in [0, 1]; null if it is no plain colour.
function colour(text) {
  if (!text || text === "none" || text.startsWith("url")) return null;
  pen.clearRect(0, 0, 1, 1);
  pen.fillStyle = text;
  pen.fillRect(0, 0, 1, 1);
  return [...pen.getImageData(0, 0, 1, 1).data].map((one) => one / 255);
}

function over(front, back, opacity = 1) {
  const share = front[3] * opacity;
  return [0, 1, 2].map((i) => share * front[i] + (1 - share) * back[i]).concat(1);
}

// Contrast of two opaque colours, from 1 to 21 (WCAG 2.2, "contrast ratio").
function contrast(one, other) {
  const light = [one, other].map((shade) => {
    const [r, g, b] = shade.slice(0, 3).map((c) => (c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b + 0.05;
  });
  return Math.max(...light) / Math.min(...light);
}

function hex(shade) {
  return "#" + shade.slice(0, 3).map((one) => Math.round(one * 255).toString(16).padStart(2, "0")).join("");
}

function opacityOf(element) {
  let opacity = 1;
  for (let one = element; one; one = one.parentElement) opacity *= Number(getComputedStyle(one).opacity);
  return opacity;
}

function canvasColour() {
  const probe = document.documentElement.appendChild(document.createElement("i"));
  probe.style.cssText = "background-color: Canvas !important; position: absolute;";
  const found = colour(getComputedStyle(probe).backgroundColor);
  probe.remove();
  return found;
}

function backgroundOf(element) {
  const layers = [];
  for (let one = element; one; one = one.parentElement) layers.push(colour(getComputedStyle(one).backgroundColor));
  return layers.reverse().reduce((back, layer) => (layer ? over(layer, back) : back), canvasColour());
}

const geometries = new Map();

// Where a mark lies and what of it is painted: asked for once, since figures have many marks and points.
function geometry(mark) {
  if (!geometries.has(mark)) {
    const style = getComputedStyle(mark), matrix = mark.getScreenCTM();
    const clip = /url\("?#([^")]+)"?\)/.exec(style.clipPath), window = clip && document.getElementById(clip[1]);
    geometries.set(mark, {
      box: mark.getBoundingClientRect(), inverse: matrix && matrix.inverse(), fill: style.fill !== "none",
      stroke: style.stroke !== "none", clip: window && window.firstElementChild && window.firstElementChild.getBBox(),
    });
  }
  return geometries.get(mark);
}

// How a mark covers a point of the screen: {fill, stroke}.
function covers(mark, x, y) {
  const { box, inverse, fill, stroke, clip } = geometry(mark), wide = 4;
  const near = x >= box.left - wide && x <= box.right + wide && y >= box.top - wide && y <= box.bottom + wide;
  if (!near || !inverse) return {};
  const point = new DOMPoint(x, y).matrixTransform(inverse);
  if (clip && (point.x < clip.x || point.x > clip.x + clip.width || point.y < clip.y || point.y > clip.y + clip.height)) return {};
  if (!mark.isPointInFill) return { fill: x >= box.left && x <= box.right && y >= box.top && y <= box.bottom };
  return { fill: fill && mark.isPointInFill(point), stroke: stroke && mark.isPointInStroke(point) };
}

function paint(mark, of) {
  const style = getComputedStyle(mark), found = colour(style[of]);
  if (!found || (of === "stroke" && parseFloat(style.strokeWidth) === 0)) return null;
  const opacity = Number(style[`${of}Opacity`]) * opacityOf(mark);
  return found[3] * opacity > 0.02 ? { shade: found, opacity } : null;
}

// The colour at a point of a figure before `element` is painted there.
function under(element, x, y) {
  const svg = outermost(element);
  let back = backgroundOf(svg);
  for (const mark of svg.querySelectorAll(MARKS)) {
    if (mark === element || element.compareDocumentPosition(mark) & Node.DOCUMENT_POSITION_FOLLOWING) break;
    const fill = covers(mark, x, y).fill && isShown(mark) && paint(mark, "fill");
    if (fill) back = over(fill.shade, back, fill.opacity);
  }
  return back;
}
