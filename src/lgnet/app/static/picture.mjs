// The tab of pictures: upload, drop, paste or an example; overlay, joints, attention, meshes, angles, files.

import { $, ask, complain, handCard, listFiles, make, megabytes, takesFiles } from "/static/common.mjs";
import { Orbit, decodeHands } from "/static/viewer.mjs";

const VIEWS = { picture: "Picture", overlay: "Meshes", joints: "Joints", attention_local: "Attention, local", attention_global: "Attention, global" };
const NAMES = ["Nothing found", "One hand", "Two hands"];

export function startPicture(about) {
  const views = $("views");
  let shown = null; // the newest answer
  let view = "overlay";
  let turn = 0; // counts what was asked, so that a late answer is not shown over a newer one
  let orbit = null;
  try {
    orbit = new Orbit($("picture-3d"), about.faces, document.querySelector("[data-viewer=picture-3d]"));
  } catch (error) {
    $("picture-3d").replaceWith(make("p", { className: "empty" }, error.message));
  }

  for (const [key, name] of Object.entries(VIEWS)) {
    views.append(make("button", { textContent: name, disabled: true, onclick: () => choose(key), data: { "data-view": key, "aria-pressed": "false" } }));
  }
  for (const path of about.examples) {
    const name = path.split("/").pop();
    const picture = make("img", { src: path, alt: `Example: ${name.split(".")[0]}`, loading: "lazy" });
    const button = make("button", { data: { "data-example": name, "aria-pressed": "false" } }, picture);
    button.onclick = async () => {
      const response = await fetch(path).catch(() => null);
      if (!response?.ok) return complain("lgnet does not answer; is it still running in its terminal?");
      take(await response.blob(), name);
    };
    $("examples").append(button);
  }
  takesFiles($("picture-drop"), $("picture-file"), (file) => take(file, file.name));
  document.addEventListener("paste", (e) => {
    const file = [...(e.clipboardData?.files ?? [])].find((f) => f.type.startsWith("image/"));
    if (file && !$("picture").hidden) take(file, file.name || "pasted.png");
  });

  function choose(key) {
    view = key;
    for (const button of views.children) button.setAttribute("aria-pressed", String(shown !== null && button.dataset.view === view));
    if (!shown) return;
    const there = shown.views[view] ? view : "overlay";
    $("picture-shown").src = shown.views[there];
    $("picture-shown").alt = `${VIEWS[there]}: ${shown.name}`;
    $("picture-caption").textContent = caption(there);
  }

  function caption(key) {
    if (key === "overlay" || key === "joints") return "Right hand red, left hand blue.";
    const share = shown.attention[key.replace("attention_", "")];
    if (!share) return "";
    const what = key === "attention_local"
      ? "What the local unit attends to: red on the right hand, blue on the left."
      : "What the global unit attends to in both hands: the brighter, the more.";
    const number = (v) => v.toPrecision(2);
    const even = share.most - share.least < 0.1 * share.even;
    return even
      ? `${what} All places alike here (${number(share.even)} % each), so it shows no more than the crops.`
      : `${what} A cell gets ${number(share.least)} to ${number(share.most)} %; ${number(share.even)} % each would be even.`;
  }

  /** Send a picture and show what comes back. */
  async function take(blob, name) {
    complain();
    if (blob.size > about.limits.picture) {
      complain(`${name} has ${megabytes(blob.size)}; give a picture of at most ${megabytes(about.limits.picture)}.`);
      return;
    }
    const mine = ++turn;
    for (const button of $("examples").children) button.setAttribute("aria-pressed", String(button.dataset.example === name));
    $("picture-busy").hidden = false;
    try {
      const answer = await ask(`/api/picture?name=${encodeURIComponent(name)}`, blob);
      if (mine === turn) show(answer);
    } catch (error) {
      if (mine === turn) complain(error.message);
    } finally {
      if (mine === turn) $("picture-busy").hidden = true;
    }
  }

  function show(answer) {
    shown = answer;
    $("picture-empty").hidden = true;
    $("picture-shown").hidden = false;
    const { hands, camera, image, relative_translation: apart } = answer.result;
    for (const button of views.children) button.disabled = !answer.views[button.dataset.view];
    choose(answer.views[view] ? view : "overlay");
    orbit?.reset();
    orbit?.show(decodeHands(hands), true);
    const words = [`${NAMES[hands.length]} in ${image.width} × ${image.height} pixels, looked at in ${answer.seconds.toPrecision(2)} s.`];
    if (apart) words.push(`The wrists are ${Math.round(100 * Math.hypot(...apart))} cm apart.`);
    if (hands.length && camera.assumed) words.push("Nothing is known of the camera: a field of view of 60° is assumed, so distances are rough.");
    if (!hands.length) words.push("Try a picture in which the hands are larger or less hidden.");
    $("picture-said").textContent = words.join(" ");
    $("picture-hands").replaceChildren(...hands.map(handCard));
    listFiles($("picture-files"), answer.files);
  }

  return { take };
}
