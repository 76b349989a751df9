// The browser's side of the pages Live and Emoji mirror: camera -> frame -> server -> picture, boxes, numbers.
// Runs once for each page, after refused.js, live.js and mirror.js, with Gradio's `element` and `server`.

const root = element.querySelector(".lv");
const $ = (name) => root.querySelector(`.lv-${name}`);
const LONGEST_PX = 640;
const JPEG_QUALITY = 0.8;
const MOST_FLYING = 3;
const WAY_MS = 60; // of a way to the server and back that is worth another frame under way
const settings = JSON.parse(root.dataset.settings);
const view = root.dataset.page === "mirror" ? mirrorView(root, settings) : liveView(root);
const video = $("video");

let run = 0; // counts starts, so that an older run sees that it is over
let facing = "user";
let visitor = null; // the server's name for this visitor
let frames = null; // of the run: flying, depth, shown
let calibrating = null; // when it began, ms

const percent = (p) => `${Math.round(100 * p)} %`;

let held = 0; // until then the message stays
function say(text, problem = false, hold_ms = 0) {
  held = performance.now() + hold_ms;
  if ($("status").textContent !== text) $("status").textContent = text;
  $("status").classList.toggle("problem", problem);
}

const hint = (text) => performance.now() > held && say(text);

function enter(state) {
  root.dataset.state = state;
  $("start").textContent = state === "idle" ? "Start the camera" : "Stop the camera";
  $("calibrate").disabled = $("forget").disabled = state !== "on";
}

async function start() {
  stop();
  const me = ++run;
  enter("waiting");
  say("Waiting for the camera …");
  let cameras;
  try {
    if (!navigator.mediaDevices) throw new Error(INSECURE);
    view.load(await assets());
    const stream = await navigator.mediaDevices.getUserMedia({
      audio: false,
      video: { facingMode: facing, width: { ideal: 640 }, height: { ideal: 480 }, frameRate: { ideal: 30 } },
    });
    if (me !== run) return stream.getTracks().forEach((track) => track.stop());
    const [track] = stream.getVideoTracks();
    track.onended = () => me === run && (stop(), say("The camera was taken away.", true));
    root.classList.toggle("mirrored", track.getSettings().facingMode !== "environment");
    video.srcObject = stream;
    await video.play();
    cameras = (await navigator.mediaDevices.enumerateDevices()).filter((d) => d.kind === "videoinput");
  } catch (error) {
    if (me !== run) return;
    stop();
    return say(REFUSED[error.name] || error.message, true);
  }
  if (me !== run) return;
  $("turn").hidden = cameras.length < 2;
  enter("on");
  say("");
  frames = { flying: 0, depth: 1, ways: [], newest: null, last: -Infinity, shown: [], delay: 0, told: 0, canvases: [] };
  watch(me);
}

function stop() {
  run++;
  video.srcObject?.getTracks().forEach((track) => track.stop());
  video.srcObject = null;
  if (visitor) server.leave({ visitor }).catch(() => {});
  visitor = null;
  calibrating = null;
  $("progress").hidden = $("turn").hidden = true;
  $("pace").textContent = "";
  view.clear();
  enter("idle");
  say("");
}

/** The emoji and colours, fetched once for all pages. */
function assets() {
  window.ferAssets ??= server.assets({}).catch((error) => {
    window.ferAssets = undefined;
    throw error;
  });
  return window.ferAssets;
}

// --- frames -----------------------------------------------------------------------------------------------------------

/** Notes each picture of the camera; sends the newest one whenever the server has room for it. */
function watch(me) {
  const on = (now, facts) => {
    if (me !== run) return;
    frames.newest = facts?.captureTime ?? now;
    pump(me);
    next(on);
  };
  const next = (f) => (video.requestVideoFrameCallback ? video.requestVideoFrameCallback(f) : requestAnimationFrame(f));
  next(on);
}

function pump(me) {
  if (me !== run || frames.newest === null || frames.flying >= frames.depth || !video.videoWidth) return;
  const taken = frames.newest;
  frames.newest = null;
  send(me, grab(), taken);
}

function grab() {
  const canvas = frames.canvases.pop() || document.createElement("canvas");
  const shrink = Math.min(1, LONGEST_PX / Math.max(video.videoWidth, video.videoHeight));
  const [w, h] = [video.videoWidth, video.videoHeight].map((v) => Math.round(v * shrink));
  if (canvas.width !== w || canvas.height !== h) Object.assign(canvas, { width: w, height: h });
  const pen = canvas.getContext("2d", { willReadFrequently: true });
  const flip = root.classList.contains("mirrored");
  pen.setTransform(flip ? -1 : 1, 0, 0, 1, flip ? w : 0, 0);
  pen.drawImage(video, 0, 0, w, h);
  return canvas;
}

async function send(me, canvas, taken) {
  const mine = frames;
  mine.flying++;
  const sent = performance.now();
  let pause = 0;
  try {
    const picture = canvas.toDataURL("image/jpeg", JPEG_QUALITY).split(",", 2)[1];
    const answer = await server.look({ picture, time: taken / 1000, visitor, ...settings });
    if (me !== run) {
      // Stopped before the first answer: the place that it names is free again.
      if (answer.visitor && answer.visitor !== visitor) server.leave({ visitor: answer.visitor }).catch(() => {});
      return;
    }
    if (answer.problem) {
      say(answer.problem, !answer.retry_s, 2500);
      pause = answer.retry_s || 2;
    } else {
      visitor = answer.visitor;
      show(canvas, answer, taken, sent);
    }
  } catch {
    if (me !== run) return;
    say("The connection to the server was lost. Trying again …", true, 2500);
    pause = 2;
  } finally {
    mine.canvases.push(canvas);
    if (pause) await new Promise((go) => setTimeout(go, 1000 * pause));
    mine.flying--;
  }
  pump(me);
}

function show(canvas, answer, taken, sent) {
  const trip = performance.now() - sent;
  // On a long way to the server several frames may be under way. The shortest way of late counts: that of a busy
  // browser or server varies, and more frames would make it longer.
  frames.ways = [...frames.ways.slice(-29), trip - answer.spent_ms];
  frames.depth = Math.min(1 + Math.floor(Math.min(...frames.ways) / WAY_MS), MOST_FLYING);
  if (answer.stale || taken <= frames.last) return; // a newer one has been shown
  frames.last = taken;
  const picture = $("picture");
  if (picture.width !== canvas.width || picture.height !== canvas.height) {
    Object.assign(picture, { width: canvas.width, height: canvas.height });
    root.style.setProperty("--ratio", canvas.width / canvas.height);
  }
  picture.getContext("2d").drawImage(canvas, 0, 0);
  root.classList.add("seeing");
  view.draw(answer, taken / 1000);
  tellPace(performance.now(), taken);
  tellFaces(answer, sent);
  root.dispatchEvent(new CustomEvent("fer-seen", { bubbles: true, detail: { ...answer, trip } }));
}

function tellPace(now, taken) {
  frames.shown = frames.shown.filter((t) => now - t < 2000);
  frames.shown.push(now);
  const n = frames.shown.length;
  const fps = n > 1 ? (1000 * (n - 1)) / (now - frames.shown[0]) : 0;
  frames.delay = frames.delay ? 0.9 * frames.delay + 0.1 * (now - taken) : now - taken;
  if (now - frames.told < 500) return;
  frames.told = now;
  Object.assign(root.dataset, { fps: fps.toFixed(1), delay: frames.delay.toFixed(0) });
  $("pace").textContent = `${fps.toFixed(0)} pictures a second, delay ${Math.round(frames.delay)} ms`;
}

let spoken = { text: "", at: 0 };
function tellFaces(answer, sent) {
  const watched = answer.faces.map((f) => f.calibrating).filter((p) => p !== null);
  const calibrated = answer.faces.some((f) => f.calibrated);
  $("forget").hidden = !calibrated;
  $("progress").hidden = !calibrating;
  if (calibrating && watched.length) {
    $("progress").value = Math.min(...watched);
    say("Look into the camera with a neutral face …");
  } else if (calibrating && sent > calibrating && answer.faces.length) {
    calibrating = null;
    $("progress").hidden = true;
    if (calibrated) say("Calibrated: this resting face counts as neutral now.", false, 5000);
    else say("The face was out of sight for too long; press the button again.", true, 5000);
  }
  if (!calibrating || !watched.length) hint(answer.faces.length ? "" : "No face in sight.");
  const text = answer.faces.map((f) => f.label).join(", ");
  const now = performance.now();
  if (text === spoken.text || now - spoken.at < 1500) return;
  spoken = { text, at: now };
  $("spoken").textContent = text;
}

// --- buttons ----------------------------------------------------------------------------------------------------------

$("start").onclick = () => (root.dataset.state === "idle" ? start() : stop());
$("turn").onclick = () => {
  facing = facing === "user" ? "environment" : "user";
  start();
};
$("calibrate").onclick = async () => {
  const answer = await server.calibrate({ visitor }).catch(() => ({ problem: "The connection to the server was lost." }));
  if (answer.problem) return say(answer.problem, true, 5000);
  calibrating = performance.now();
  $("progress").value = 0;
};
$("forget").onclick = async () => {
  await server.forget({ visitor }).catch(() => {});
  say("Forgotten: everyone is seen as the net sees them.", false, 4000);
};
root.addEventListener("fer-set", (event) => {
  Object.assign(settings, event.detail);
  view.set?.(settings);
});
// Another tab of the page, or the end of it: the camera's light goes out.
new IntersectionObserver(() => {
  if (root.dataset.state !== "idle" && !(root.isConnected && root.offsetWidth)) stop();
}).observe(root);
assets().then((given) => root.dataset.state === "idle" && view.load(given), () => {});
addEventListener("pagehide", () => root.dataset.state !== "idle" && stop());
