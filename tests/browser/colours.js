// What is hard to see in figures, and on paper, where the printer leaves backgrounds out. A list of sentences.
// Grid lines and shaded bands are of class `faint`: they need not stand out, but must be there.

const TEXT = 4.5, LARGE = 3, MARK = 3, FAINT = 1.1;

function colours(medium) {
  const paper = medium === "paper";
  const counts = new Map(), texts = pieces();
  const note = (what) => counts.set(what, (counts.get(what) || 0) + 1);
  if (medium === "dark" && contrast(backgroundOf(document.body), [0, 0, 0, 1]) > 7) note("the page stays light");
  for (const piece of texts) judgeText(piece, paper, note);
  for (const mark of document.querySelectorAll(MARKS.split(", ").map((one) => `svg ${one}`).join(", "))) {
    if (isShown(mark) && !isPanel(mark, texts)) judgeMark(mark, note);
  }
  return [...counts].map(([what, count]) => (count > 1 ? `${what} (${count} times)` : what));
}

function judgeText({ element, text, quad }, paper, note) {
  const style = getComputedStyle(element), inFigure = element.ownerSVGElement, box = boxAround(quad);
  if (!inFigure && !paper) return;  // axe judges it
  const size = fontSize(quad);
  const limit = size >= 24 || (size >= 18.6 && Number(style.fontWeight) >= 700) ? LARGE : TEXT;
  let back = inFigure ? under(element, box.x + box.width / 2, box.y + box.height / 2) : [1, 1, 1, 1];
  if (paper && !inFigure && style.printColorAdjust === "exact") back = backgroundOf(element);
  const halo = inFigure && style.paintOrder.startsWith("stroke") && colour(style.stroke);
  if (halo) back = over(halo, back);
  const own = inFigure ? colour(style.fill) : colour(style.color);
  if (!own) return;
  const front = over(own, back, opacityOf(element) * (inFigure ? Number(style.fillOpacity) : 1)), ratio = contrast(front, back);
  if (ratio < limit) note(`${hex(front)} on ${hex(back)}: contrast ${ratio.toFixed(1)} for the text "${text.slice(0, 30)}"`);
}

function judgeMark(mark, note) {
  const box = mark.getBoundingClientRect();
  if (box.width + box.height === 0) return;
  const back = under(mark, box.x + box.width / 2, box.y + box.height / 2);
  const shades = ["fill", "stroke"].map((of) => paint(mark, of)).filter(Boolean).map(({ shade, opacity }) => over(shade, back, opacity));
  if (mark.tagName === "line" || !shades.length) shades.splice(0, shades.length, ...strokeOf(mark, back));
  // Where marks cross, each is seen on the page beside the other.
  const page = backgroundOf(outermost(mark));
  const best = Math.max(0, ...shades.flatMap((shade) => [contrast(shade, back), contrast(shade, page)])), limit = mark.closest(".faint") ? FAINT : MARK;
  if (shades.length && best < limit) note(`${nameOf(outermost(mark))} ${mark.tagName} in ${hex(shades[0])} on ${hex(back)}: contrast ${best.toFixed(1)}`);
}

function strokeOf(mark, back) {
  const used = paint(mark, "stroke");
  return used ? [over(used.shade, back, used.opacity)] : [];
}

// A panel is what other things are drawn on: most of the figure, or all that is behind a text.
function isPanel(mark, texts) {
  const box = mark.getBoundingClientRect(), whole = outermost(mark).getBoundingClientRect();
  if (!paint(mark, "fill")) return false;
  if (box.width * box.height > 0.5 * whole.width * whole.height) return true;
  return texts.some(({ element, quad }) => element.ownerSVGElement && quad.every(([x, y]) => x >= box.left && x <= box.right && y >= box.top && y <= box.bottom)
    && mark.compareDocumentPosition(element) & Node.DOCUMENT_POSITION_FOLLOWING);
}
