// What all tabs share: asking the server, saying what is wrong, a hand's card, lists of files.

export const $ = (id) => document.getElementById(id);

/** An element: make("a", { href: "/" }, "text", child). */
export function make(name, properties = {}, ...children) {
  const { data, ...own } = properties;
  const element = Object.assign(document.createElement(name), own);
  for (const [key, value] of Object.entries(data ?? {})) element.setAttribute(key, value);
  element.append(...children);
  return element;
}

/** One sentence at the top of the page; none: what was there goes. */
export function complain(text = "") {
  $("error").textContent = text;
  $("error").hidden = !text;
  if (text) $("error").scrollIntoView({ block: "nearest" });
}

/** The server's answer as an object; raises an Error with its sentence, and the status. */
export async function ask(path, body) {
  let response;
  try {
    response = await fetch(path, body === undefined ? {} : { method: "POST", body });
  } catch {
    throw new Error("lgnet does not answer; is it still running in its terminal?");
  }
  const answer = await response.json();
  if (!response.ok) throw Object.assign(new Error(sentence(answer.error)), { status: response.status });
  return answer;
}

export function sentence(text) {
  const whole = `${text ?? "something went wrong"}`;
  return whole[0].toUpperCase() + whole.slice(1) + (/[.?!]$/.test(whole) ? "" : ".");
}

export function megabytes(bytes) {
  return `${Math.round(bytes / 1e6)} MB`;
}

/** Lets files be chosen or dropped; `take` is given the first one. */
export function takesFiles(label, input, take) {
  input.addEventListener("change", () => {
    if (input.files.length) take(input.files[0]);
    input.value = "";
  });
  const over = (is) => label.classList.toggle("over", is);
  label.addEventListener("dragover", (e) => {
    e.preventDefault();
    over(true);
  });
  label.addEventListener("dragleave", () => over(false));
  label.addEventListener("drop", (e) => {
    e.preventDefault();
    over(false);
    if (e.dataTransfer.files.length) take(e.dataTransfer.files[0]);
  });
}

const FINGERS = ["Thumb", "Index", "Middle", "Ring", "Little"];
const JOINTS = [["MCP", "CMC"], ["PIP", "MCP"], ["DIP", "IP"]];
const TURNS = [
  ["bend", "towards the palm; the thumb across it"],
  ["spread", "away from the middle finger; the thumb away from the palm"],
  ["twist", "about the bone"],
];

/** A card with a hand's score, place and joint angles. */
export function handCard(hand) {
  const per = Math.round(100 * hand.score);
  const [x, y, z] = hand.translation.map((v) => Math.round(100 * v));
  const where = `Wrist ${z} cm from the camera, ${Math.abs(x)} cm ${x < 0 ? "left" : "right"} of its axis and ${Math.abs(y)} cm ${y < 0 ? "above" : "below"} it.`;
  const head = make("tr", {}, make("th"));
  const under = make("tr", {}, make("th"));
  JOINTS.forEach(([usual, thumb]) => {
    head.append(make("th", { className: "group", colSpan: 3, scope: "colgroup", title: `of the thumb: ${thumb}` }, `${usual} (${thumb})`));
    TURNS.forEach(([name, title], t) => under.append(make("th", { className: t ? "" : "group", title, scope: "col" }, name)));
  });
  const body = make("tbody");
  FINGERS.forEach((finger, f) => {
    const row = make("tr", {}, make("th", { scope: "row" }, finger));
    hand.angles[f].forEach((turns) =>
      turns.forEach((degrees, t) => {
        const size = t ? "" : degrees > 60 ? " bigger" : degrees > 30 ? " big" : "";
        row.append(make("td", { className: `${t ? "" : "group"}${size}` }, `${degrees}°`.replace("-", "−")));
      }),
    );
    body.append(row);
  });
  const name = hand.side === "right" ? "Right hand" : "Left hand";
  return make(
    "article",
    { className: `card ${hand.side}` },
    make("h2", {}, name, make("small", {}, `score ${per} %`)),
    make("meter", { min: 0, max: 1, value: hand.score, data: { "aria-label": `${name}: score` } }, `${per} %`),
    make("p", {}, where),
    make("div", { className: "scroll" },
      make("table", {}, make("caption", {}, "Joint angles"), make("thead", {}, head, under), body)),
  );
}

/** Fills an element with links to download. */
export function listFiles(where, files) {
  where.replaceChildren();
  if (!files.length) return;
  const links = files.map(({ name, url }) => {
    const whole = name.endsWith(".zip");
    return make("li", {}, make("a", { href: `${url}?download`, download: name, className: whole ? "main" : "" }, whole ? "All in one ZIP" : name));
  });
  const first = files.findIndex(({ name }) => name.endsWith(".zip"));
  if (first > 0) links.unshift(...links.splice(first, 1));
  where.append(make("h2", {}, "Files"), make("ul", {}, ...links));
}
