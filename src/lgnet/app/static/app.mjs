// The page: tabs, light and dark, and what each tab is started with.

import { startCamera } from "/static/camera.mjs";
import { $, ask, complain } from "/static/common.mjs";
import { startPicture } from "/static/picture.mjs";
import { startVideo } from "/static/video.mjs";
import { decodeFaces } from "/static/viewer.mjs";

const tabs = [...document.querySelectorAll("[role=tab]")];

function open(tab, focus = false) {
  for (const other of tabs) {
    const chosen = other === tab;
    other.setAttribute("aria-selected", String(chosen));
    other.tabIndex = chosen ? 0 : -1;
    $(other.getAttribute("aria-controls")).hidden = !chosen;
  }
  complain();
  if (focus) tab.focus();
  history.replaceState(null, "", `#${tab.getAttribute("aria-controls")}`);
}

tabs.forEach((tab, index) => {
  tab.addEventListener("click", () => open(tab));
  tab.addEventListener("keydown", (e) => {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[e.key];
    if (step) open(tabs[(index + step + tabs.length) % tabs.length], true);
  });
});

const root = document.documentElement;
root.dataset.theme = localStorage.getItem("theme") ?? "";
$("theme").addEventListener("click", () => {
  const dark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  root.dataset.theme = dark ? "light" : "dark";
  localStorage.setItem("theme", root.dataset.theme);
});
// a file dropped beside its place is not opened in place of the page
for (const name of ["dragover", "drop"]) document.addEventListener(name, (e) => e.preventDefault());

try {
  const about = await ask("/api/about");
  about.faces = Object.fromEntries(Object.entries(about.faces).map(([side, text]) => [side, decodeFaces(text)]));
  $("about").textContent = `lgnet ${about.version}, weights ${about.weights}. Everything is computed on this machine; nothing is sent anywhere, and results are deleted when lgnet ends.`;
  const picture = startPicture(about);
  startVideo(about);
  const camera = startCamera(about, {
    keep: (blob, name) => {
      open($("tab-picture"));
      picture.take(blob, name);
    },
    visible: () => !$("camera").hidden,
  });
  addEventListener("pagehide", camera.stop);
  open(tabs.find((tab) => `#${tab.getAttribute("aria-controls")}` === location.hash) ?? tabs[0]);
  root.dataset.ready = "yes";
} catch (error) {
  complain(error.message);
}
