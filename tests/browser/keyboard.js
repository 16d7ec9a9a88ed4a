// What the Tab key should reach, in the order of the page, and what it did reach.

const STOPS = "a[href], button, input, select, textarea, summary, [tabindex]";

function keyboard(visited) {
  if (visited === null) return expect();
  if (visited !== "here") return judge(visited);
  const now = document.activeElement;
  if (!now || now === document.body || now === document.documentElement) return null;
  if (!window.rsftSeen) window.rsftSeen = [];
  const again = window.rsftSeen.indexOf(now);
  if (again >= 0) return null;
  window.rsftSeen.push(now);
  const box = now.getBoundingClientRect(), place = window.rsftStops.indexOf(now), before = window.rsftLooks.get(now);
  return {
    place, name: nameOf(now),
    marked: before === undefined ? getComputedStyle(now).outlineStyle !== "none" : before !== lookOf(now),
    inView: box.width > 1.5 && box.height > 1.5 && box.bottom > 0 && box.top < innerHeight && box.right > 0 && box.left < innerWidth,
  };
}

function lookOf(element) {
  const style = getComputedStyle(element);
  const outline = style.outlineStyle === "none" || parseFloat(style.outlineWidth) === 0 ? "none" : `${style.outlineStyle} ${style.outlineColor}`;
  return [outline, style.boxShadow, style.borderColor, style.borderWidth, style.backgroundColor, style.textDecorationLine].join("; ");
}

function stops() {
  return [...document.querySelectorAll(STOPS)].filter((one) => {
    const group = one.type === "radio" && one.name ? [...document.getElementsByName(one.name)] : [one];
    const spokesman = group.find((member) => member.checked) || group[0];
    return one.tabIndex >= 0 && !one.disabled && one === (one.type === "radio" ? spokesman : one) && one.checkVisibility({ visibilityProperty: true });
  });
}

function expect() {
  document.activeElement.blur();
  window.rsftStops = stops();
  window.rsftLooks = new Map(window.rsftStops.map((one) => [one, lookOf(one)]));
  return window.rsftStops.length;
}

function judge(visited) {
  const found = [], all = window.rsftStops, reached = visited.map((stop) => stop.place).filter((place) => place >= 0);
  all.forEach((one, place) => { if (!reached.includes(place)) found.push(`Tab does not reach ${nameOf(one)}`); });
  reached.forEach((place, i) => { if (i && place < reached[i - 1]) found.push(`Tab reaches ${nameOf(all[place])} after what follows it`); });
  for (const stop of visited) {
    if (!stop.marked) found.push(`nothing shows that ${stop.name} has the focus`);
    if (!stop.inView) found.push(`${stop.name} is out of sight when it has the focus`);
  }
  const clicked = new Set([...(window.rsftClicked || []), ...document.querySelectorAll("[onclick]")]);
  for (const one of clicked) {
    const reachable = all.some((stop) => stop.contains(one) || one.contains(stop)) || one.closest("label");
    if (one.isConnected && isShown(one) && !reachable) found.push(`${nameOf(one)} takes clicks and no keys`);
  }
  return found;
}
