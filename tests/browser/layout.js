// What sticks out, is cut off, or lies over something else, as the page is shown now. A list of sentences.

const SMALLEST = 9;  // a font that can be read, in CSS pixels

function layout() {
  const found = [], texts = pieces(), root = document.documentElement, width = root.clientWidth;
  if (root.scrollWidth > width) {
    const wide = [...document.body.querySelectorAll("*")].filter((one) => isShown(one) && one.getBoundingClientRect().right > width + 0.5);
    const deepest = wide.filter((one) => !wide.some((other) => other !== one && one.contains(other)));
    found.push(`the document is ${root.scrollWidth} px wide: ${deepest.slice(0, 3).map(nameOf).join("; ")}`);
  }
  for (const one of document.body.querySelectorAll("*")) {
    const scrolls = /auto|scroll/.test(getComputedStyle(one).overflowX) && !one.closest("pre, textarea, select, svg");
    if (scrolls && isShown(one) && one.scrollWidth > one.clientWidth + 1) {
      found.push(`${nameOf(one)} holds ${one.scrollWidth} px in a box of ${one.clientWidth} px`);
    }
  }
  const small = texts.filter(({ quad }) => fontSize(quad) < SMALLEST);
  for (const place of new Set(small.map(({ element }) => element.ownerSVGElement))) {
    const { text, quad } = small.find(({ element }) => element.ownerSVGElement === place);
    found.push(`${place ? nameOf(outermost(place)) : "the page"} has text of ${fontSize(quad).toFixed(1)} px, as "${text.slice(0, 40)}"`);
  }
  const seen = [...texts];
  for (const element of document.querySelectorAll(`img, svg, canvas, video, ${MARKS.split(", ").map((mark) => `svg ${mark}`).join(", ")}`)) {
    const box = element.getBoundingClientRect();
    const clipped = element.ownerSVGElement && element.closest("[clip-path]");
    if (!clipped && isShown(element) && box.width + box.height > 0) seen.push({ element, quad: corners(box, new DOMMatrix()) });
  }
  for (const piece of seen) {
    const cut = cutOff(piece);
    if (cut) found.push(cut);
  }
  return [...new Set([...found, ...overlaps(texts), ...crossed(texts)])];
}

function cutOff({ element, quad, text }) {
  const box = boxAround(quad), name = text ? `"${text.slice(0, 40)}"` : nameOf(element);
  for (let one = text ? element : element.parentElement; one && one !== document.documentElement; one = one.parentElement) {
    const style = getComputedStyle(one), edge = one.getBoundingClientRect();
    if (/auto|scroll/.test(style.overflowX + style.overflowY)) return null;
    const x = /hidden|clip/.test(style.overflowX) && (box.left < edge.left - 1.5 || box.right > edge.right + 1.5);
    const y = /hidden|clip/.test(style.overflowY) && (box.top < edge.top - 1.5 || box.bottom > edge.bottom + 1.5);
    if ((x || y) && one !== document.body) return `${name} is cut off by ${nameOf(one)}`;
  }
  const jumps = element.closest("a[href^='#']");  // a link past the navigation waits outside until it has the focus
  return box.right > 0 && box.left < -1.5 && !jumps ? `${name} begins outside the page` : null;
}

// How deep two quads lie in each other, in px, by the axis on which they are nearest to apart.
function depth(one, other) {
  let least = Infinity;
  for (const quad of [one, other]) {
    for (const i of [0, 1]) {
      const [x, y] = [quad[i + 1][1] - quad[i][1], quad[i][0] - quad[i + 1][0]], length = Math.hypot(x, y);
      if (!length) return 0;
      const [a, b] = [one, other].map((points) => points.map((point) => (point[0] * x + point[1] * y) / length));
      least = Math.min(least, Math.min(Math.max(...a), Math.max(...b)) - Math.max(Math.min(...a), Math.min(...b)));
    }
  }
  return least;
}

function overlaps(texts) {
  const boxed = texts.map((piece) => ({ ...piece, box: boxAround(piece.quad) })).sort((a, b) => a.box.top - b.box.top);
  const found = [];
  boxed.forEach((one, i) => {
    for (let j = i + 1; j < boxed.length && boxed[j].box.top < one.box.bottom; j++) {
      const other = boxed[j];
      if (other.box.left < one.box.right && one.box.left < other.box.right && depth(one.quad, other.quad) > 1.5) {
        found.push(`"${one.text.slice(0, 40)}" and "${other.text.slice(0, 40)}" lie over each other`);
      }
    }
  });
  return found;
}

// Text of a figure that a line runs through, that a mark is painted over, or that lies half on a mark.
function crossed(texts) {
  const found = [];
  for (const { element, text, quad } of texts.filter((piece) => piece.element.ownerSVGElement)) {
    const box = boxAround(quad), [a, b, , d] = quad, own = getComputedStyle(element);
    const across = Math.max(4, Math.ceil(Math.hypot(b[0] - a[0], b[1] - a[1]))), points = [];
    for (let i = 0; i <= across; i++) {
      for (const v of [0.1, 0.3, 0.5, 0.7, 0.9]) {
        const u = i / across;
        points.push([a[0] + u * (b[0] - a[0]) + v * (d[0] - a[0]), a[1] + u * (b[1] - a[1]) + v * (d[1] - a[1])]);
      }
    }
    const halo = own.stroke !== "none" && own.paintOrder.startsWith("stroke");
    for (const mark of outermost(element).querySelectorAll(MARKS)) {
      const at = geometry(mark).box;
      if (at.right < box.left || at.left > box.right || at.bottom < box.top || at.top > box.bottom || !isShown(mark)) continue;
      const after = element.compareDocumentPosition(mark) & Node.DOCUMENT_POSITION_FOLLOWING;
      if (halo && !after) continue;
      const hits = points.map(([x, y]) => covers(mark, x, y)), back = under(mark, ...points[points.length >> 1]);
      const visible = (of) => { const used = paint(mark, of); return used && contrast(over(used.shade, back, used.opacity), back) > 1.5; };
      const stroke = visible("stroke") ? hits.filter((hit) => hit.stroke).length : 0;
      const fill = visible("fill") ? hits.filter((hit) => hit.fill).length / points.length : 0;
      const whole = fill > 0.95;
      if (after && (stroke > 1 || fill > 0.03)) found.push(`${nameOf(element)} is painted over by ${nameOf(mark)}`);
      else if (!whole && stroke > 1) found.push(`a line runs through ${nameOf(element)}: ${nameOf(mark)}`);
      else if (!whole && fill > 0.05) found.push(`${nameOf(element)} lies half on ${nameOf(mark)}`);
    }
  }
  return found;
}
