// The tab of the camera: its frames are sent one at a time, each when the answer to the one before has come.

import { $, ask, complain, handCard, make } from "/static/common.mjs";
import { Orbit, decodeHands, overlayOn } from "/static/viewer.mjs";

const LONGEST = 640; // pixels of the frames that are sent
const CARDS_EVERY = 250; // ms between two rewritings of the cards, which nobody reads faster

export function startCamera(about, { keep, visible }) {
  const source = $("camera-source");
  const shown = $("camera-shown");
  const frame = make("canvas");
  let running = null; // the object of the run that goes on
  let newest = null; // the last frame that was sent
  let orbit = null;
  let over = () => {};
  try {
    orbit = new Orbit($("camera-3d"), about.faces, document.querySelector("[data-viewer=camera-3d]"));
    over = overlayOn($("camera-overlay"), about.faces);
  } catch (error) {
    $("camera-3d").replaceWith(make("p", { className: "empty" }, error.message));
  }

  const mirror = () => {
    for (const id of ["camera-shown", "camera-overlay"]) $(id).classList.toggle("mirrored", $("camera-mirror").checked);
  };
  $("camera-mirror").addEventListener("change", mirror);
  mirror();
  $("camera-start").addEventListener("click", () => (running ? stop() : start()));
  $("camera-which").addEventListener("change", () => start());
  $("camera-keep").addEventListener("click", () => newest && keep(newest, "camera.jpg"));

  async function start() {
    stop();
    complain();
    if (!navigator.mediaDevices) {
      return complain("Browsers give the camera only to pages of this machine: open this one as http://localhost.");
    }
    const run = (running = { session: crypto.randomUUID?.() ?? String(Math.random()).slice(2), times: [] });
    $("camera-start").textContent = "Stop the camera";
    const id = $("camera-which").value;
    try {
      const stream = await navigator.mediaDevices.getUserMedia({
        video: { width: { ideal: 640 }, height: { ideal: 480 }, ...(id ? { deviceId: { exact: id } } : {}) },
      });
      if (running !== run) return stream.getTracks().forEach((track) => track.stop());
      run.stream = stream;
      source.srcObject = stream;
      await source.play();
      await listCameras(stream);
    } catch (error) {
      if (running === run) stop();
      const why = { NotAllowedError: "the browser was not allowed to use it", NotFoundError: "there is none", NotReadableError: "another program uses it" };
      return complain(`The camera cannot be used: ${why[error.name] ?? error.message}.`);
    }
    $("camera-empty").hidden = true;
    while (running === run) {
      try {
        await step(run);
      } catch (error) {
        if (running !== run) return;
        if (error.status === 503) await new Promise((go) => setTimeout(go, 300));
        else {
          stop();
          complain(error.message);
        }
      }
    }
  }

  function stop() {
    running?.stream?.getTracks().forEach((track) => track.stop());
    running = null;
    source.srcObject = null;
    $("camera-start").textContent = "Start the camera";
    $("camera-figures").textContent = "";
  }

  async function listCameras(stream) {
    const cameras = (await navigator.mediaDevices.enumerateDevices()).filter((d) => d.kind === "videoinput");
    const used = stream.getVideoTracks()[0].getSettings().deviceId;
    $("camera-which").replaceChildren(
      ...cameras.map((d, i) => make("option", { value: d.deviceId, textContent: d.label || `Camera ${i + 1}`, selected: d.deviceId === used })),
    );
    $("camera-which-label").hidden = cameras.length < 2;
  }

  async function step(run) {
    if (document.hidden || !visible() || !source.videoWidth) return new Promise((go) => setTimeout(go, 100));
    const begun = performance.now();
    const scale = Math.min(1, LONGEST / Math.max(source.videoWidth, source.videoHeight));
    const [width, height] = [source.videoWidth, source.videoHeight].map((v) => Math.round(v * scale));
    Object.assign(frame, { width, height });
    frame.getContext("2d").drawImage(source, 0, 0, width, height);
    const blob = await new Promise((go) => frame.toBlob(go, "image/jpeg", 0.85));
    const answer = await ask(`/api/live?session=${run.session}`, blob);
    if (running !== run) return;
    newest = blob;
    $("camera-keep").disabled = false;
    if (shown.width !== width || shown.height !== height) {
      Object.assign(shown, { width, height });
      $("camera-frame").style.aspectRatio = `${width} / ${height}`;
    }
    shown.getContext("2d").drawImage(frame, 0, 0);
    const hands = decodeHands(answer.result.hands);
    over(hands, answer.result.camera, width, height);
    orbit?.show(hands);
    tell(run, answer, begun);
  }

  function tell(run, answer, begun) {
    const now = performance.now();
    run.times = [...run.times.slice(-19), now];
    const rate = run.times.length > 1 ? ((run.times.length - 1) * 1000) / (now - run.times[0]) : 0;
    $("camera-figures").textContent = `${rate.toFixed(1)} frames/s · ${Math.round(now - begun)} ms from frame to hands, ${Math.round(1000 * answer.seconds)} of them lgnet’s`;
    const on = answer.events.filter((event) => event.phase !== "end");
    const words = on.map((event) => `${event.hand} hand: ${event.gesture}`);
    const said = words.length ? `Gesture: ${words.join(", ")}` : "Gestures: thumb out and fingers bent, palm to the camera; pinch and turn.";
    if ($("camera-events").textContent !== said) $("camera-events").textContent = said;
    if (now - (run.told ?? 0) < CARDS_EVERY) return;
    run.told = now;
    $("camera-hands").replaceChildren(...answer.result.hands.map(handCard));
  }

  return { stop };
}
