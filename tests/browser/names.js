// Whether a name from outside became more than text. A list of sentences.

function names(expected) {
  const found = [];
  if (window.executed) found.push("a script from outside was executed");
  for (const one of document.querySelectorAll("*")) {
    for (const { name, value } of one.attributes) {
      if (name.startsWith("on")) found.push(`${nameOf(one)} has ${name}="${value.slice(0, 40)}"`);
      if (/^\s*javascript:/i.test(value)) found.push(`${nameOf(one)} has ${name}="${value.slice(0, 40)}"`);
    }
  }
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  for (let node = walker.nextNode(); node; node = walker.nextNode()) {
    const open = node.data.replace(/\u2068[^\u2066-\u2069]*\u2069/g, "");  // an isolate ends what it holds
    if (/[\u202a-\u202e\u2066-\u2069]/.test(open) && !isIsolated(node, expected)) found.push(`"${node.data.trim().slice(0, 40)}" turns the text after it`);
  }
  const plain = (text) => text.replace(/\p{Cf}/gu, "").replace(/\s+/g, " ").trim();
  const shown = plain([document.body.innerText, ...[...document.querySelectorAll("svg text")].map((one) => one.textContent)].join("\n"));
  for (const name of expected) {
    const part = name.length > 80 ? name.slice(0, 30) : name;  // a very long name may be shortened
    if (!shown.includes(plain(part))) found.push(`the page does not show "${name.slice(0, 60)}"`);
  }
  return found;
}

// Letters that turn the direction of writing do so up to their counterpart, or the end of their block or isolated element.
function isIsolated(node, expected) {
  const count = (letters) => (node.data.match(letters) || []).length, text = node.data.trim();
  if (count(/[\u202a\u202b\u202d\u202e]/g) === count(/\u202c/g) && count(/[\u2066-\u2068]/g) === count(/\u2069/g)) return true;
  for (let one = node.parentElement; one; one = one.parentElement) {
    const style = getComputedStyle(one), inline = style.display === "inline";
    if (inline && /isolate|plaintext/.test(style.unicodeBidi)) return true;
    if (!inline) return one.textContent.trim() === text && expected.includes(text);
  }
  return true;
}
