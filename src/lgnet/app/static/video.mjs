// The tab of videos: upload with progress, frames with progress, then the film and its files.

import { $, ask, complain, listFiles, megabytes, sentence, takesFiles } from "/static/common.mjs";

const EVERY = 400; // ms between two questions how far it is

export function startVideo(about) {
  let turn = 0; // counts videos, so that only the newest is shown
  let job = null;
  let upload = null;
  takesFiles($("video-drop"), $("video-file"), take);
  $("video-stop").addEventListener("click", () => {
    upload?.abort();
    if (job) ask(`/api/stop?id=${job.id}`, "").catch((error) => complain(error.message));
  });

  async function take(file) {
    complain();
    if (file.size > about.limits.video) {
      return complain(`${file.name} has ${megabytes(file.size)}; give a video of at most ${megabytes(about.limits.video)}, or use lgnet reconstruct.`);
    }
    const mine = ++turn;
    upload?.abort();
    if (job && ["waiting", "running"].includes(job.state)) ask(`/api/stop?id=${job.id}`, "").catch(() => {});
    job = null;
    reset();
    try {
      const sent = await send(file, (share) => progress(share, `Uploading: ${Math.round(100 * share)} %`));
      if (mine === turn) job = sent;
      while (mine === turn) {
        const said = await ask(`/api/video?id=${sent.id}`);
        if (mine !== turn) return;
        show((job = said));
        if (!["waiting", "running"].includes(job.state)) return;
        await new Promise((go) => setTimeout(go, EVERY));
      }
    } catch (error) {
      if (mine !== turn) return;
      $("video-work").hidden = true;
      if (error.message) complain(error.message);
    }
  }

  /** An upload that tells how far it is, which fetch does not. */
  function send(file, tell) {
    return new Promise((good, bad) => {
      upload = new XMLHttpRequest();
      upload.open("POST", `/api/video?name=${encodeURIComponent(file.name)}&smooth=${$("video-smooth").value}`);
      upload.responseType = "json";
      upload.upload.onprogress = (e) => e.lengthComputable && tell(e.loaded / e.total);
      upload.onload = () => (upload.status === 200 ? good(upload.response) : bad(new Error(sentence(upload.response?.error))));
      upload.onerror = () => bad(new Error("lgnet does not answer; is it still running in its terminal?"));
      upload.onabort = () => bad(new Error(""));
      upload.send(file);
    });
  }

  function reset() {
    $("video-work").hidden = $("video-stop").hidden = false;
    $("video-shown").hidden = $("video-preview").hidden = true;
    $("video-shown").removeAttribute("src");
    $("video-empty").hidden = false;
    $("video-empty").textContent = "";
    listFiles($("video-files"), []);
    progress(0, "Uploading");
  }

  function progress(share, text) {
    if (share === null) $("video-progress").removeAttribute("value");
    else $("video-progress").value = share;
    $("video-said").textContent = text;
  }

  /** For those who hear the page: what has changed, not every frame. */
  function announce(text) {
    if ($("video-state").textContent !== text) $("video-state").textContent = text;
  }

  function show({ id, state, frames, total, rate, left, preview, files, error, hands, cut, note, name }) {
    const of = total ? ` of ${total}` : "";
    const [right, other] = hands;
    const found = `right hand in ${right}, left hand in ${other} of them`;
    if (state === "waiting") return progress(0, "Waiting for an earlier video");
    if (state === "running") {
      announce("Working on the video");
      const time = left === null ? "" : `, ${duration(left)} left`;
      progress(total ? frames / total : null, `Frame ${frames}${of}, ${rate.toFixed(1)} frames/s${time}`);
      if (preview) {
        $("video-preview").src = `/api/preview?id=${id}&frame=${preview}`;
        $("video-preview").hidden = false;
        $("video-empty").hidden = true;
      }
      return;
    }
    $("video-stop").hidden = true;
    if (state === "failed") {
      $("video-work").hidden = true;
      $("video-preview").hidden = true;
      return complain(sentence(error));
    }
    const first = cut ? ` Only the first ${about.limits.frames} frames were taken: use lgnet reconstruct for the rest.` : "";
    const done = `${state === "stopped" ? "Stopped: " : ""}${name}: ${frames} frames at ${rate.toFixed(1)} a second; ${found}.${first}`;
    progress(1, done);
    announce(done);
    listFiles($("video-files"), files);
    if (note) complain(sentence(note));
    const film = files.find((file) => file.name.endsWith(".webm"));
    $("video-preview").hidden = true;
    $("video-empty").hidden = Boolean(film);
    if (film) {
      $("video-shown").src = film.url;
      $("video-shown").hidden = false;
    }
  }
}

function duration(seconds) {
  const whole = Math.ceil(seconds);
  return whole < 90 ? `${whole} s` : `${Math.round(whole / 60)} min`;
}
