// The page: camera or photo in, boxes, emoji and bars out. What takes time is in worker.js.

import { best, follow } from "./faces.js";
import { ask, look } from "./net.js";

const $ = (id) => document.getElementById(id);
const LONGEST_PHOTO_PX = 1280;
const LONGEST_FRAME_PX = 640;
const FIND_EVERY_MS = 250;
const UNSURE_BELOW = 0.5; // as in ../marks.py
// The largest faces are read: as many as a slow device can follow, and as a photo's reading takes a moment for.
const MOST_IN_CAMERA = 6;
const MOST_IN_PHOTO = 40;

const state = {
  about: null,
  finder: false, // YuNet is there
  run: 0, // counts starts, so that an older loop sees that it is over
  picture: null, // of the photo
  faces: [], // {box, probs, shown}
  chosen: 0,
  guide: { x: 0.5, y: 0.5, size: 0.8 }, // centre and size as shares of the picture; size of its shorter side
};

// --- the frame to look into -------------------------------------------------------------------------------------------

const guideSide = (width, height) => Math.round(state.guide.size * Math.min(width, height));

function guideBox(width, height) {
  const side = guideSide(width, height);
  const left = Math.round(Math.min(Math.max(state.guide.x * width - side / 2, 0), width - side));
  const top = Math.round(Math.min(Math.max(state.guide.y * height - side / 2, 0), height - side));
  return [left, top, left + side, top + side];
}

function place(element, box, width, height) {
  const mirrored = $("stage").classList.contains("mirrored");
  const left = mirrored ? width - box[2] : box[0];
  Object.assign(element.style, {
    left: `${(100 * left) / width}%`,
    top: `${(100 * box[1]) / height}%`,
    width: `${(100 * (box[2] - box[0])) / width}%`,
    height: `${(100 * (box[3] - box[1])) / height}%`,
  });
}

function showGuide(visible, width, height) {
  const movable = $("stage").dataset.mode === "photo";
  $("guide").hidden = !visible;
  $("sizer").hidden = !(visible && movable);
  $("guide").classList.toggle("movable", movable);
  $("guide").tabIndex = movable ? 0 : -1;
  $("guide").firstElementChild.textContent = movable ? "Move me over a face" : "Your face here";
  if (visible) place($("guide"), guideBox(width, height), width, height);
}

/** By shares of the picture, from where the frame is shown to where it can be shown. */
function moveGuide(dx, dy) {
  const { width, height } = state.picture;
  const side = guideSide(width, height);
  const inside = (at, length) => Math.min(Math.max(at, side / 2 / length), 1 - side / 2 / length);
  state.guide.x = inside(inside(state.guide.x, width) + dx, width);
  state.guide.y = inside(inside(state.guide.y, height) + dy, height);
  place($("guide"), guideBox(width, height), width, height);
  readPhoto(false);
}

// --- what was seen ----------------------------------------------------------------------------------------------------

function buildBars() {
  const { labels, colors } = state.about;
  $("bars").replaceChildren(
    ...labels.map((name, i) => {
      const line = document.createElement("li");
      line.style.setProperty("--tone", colors[i]);
      line.innerHTML = '<span class="name"></span><span class="track" aria-hidden="true"><span class="fill"></span></span><span class="percent">–</span>';
      line.firstElementChild.textContent = name;
      return line;
    }),
  );
  document.querySelector("#idle .row").replaceChildren(
    ...labels.map((name) => Object.assign(new Image(), { src: `emoji/${name}.png`, alt: "" })),
  );
}

const percent = (p) => `${Math.round(100 * p)} %`;

function showReading(face) {
  document.querySelector(".read").classList.toggle("waiting", !face);
  const lines = $("bars").children;
  for (let i = 0; i < lines.length; i++) {
    lines[i].classList.toggle("first", Boolean(face) && i === face.shown);
    lines[i].querySelector(".fill").style.transform = `scaleX(${face ? face.probs[i] : 0})`;
    lines[i].querySelector(".percent").textContent = face ? percent(face.probs[i]) : "–";
  }
  const name = face ? state.about.labels[face.shown] : "neutral";
  if (!$("emoji").src.endsWith(`/${name}.png`)) $("emoji").src = `emoji/${name}.png`;
  $("label").textContent = face ? name : "Nobody yet";
  $("share").textContent = face ? percent(face.probs[face.shown]) + (face.probs[face.shown] < UNSURE_BELOW ? ", not sure" : "") : "";
  speak(face ? name : "");
}

let spoken = { name: "", at: 0 };
function speak(name) {
  const now = performance.now();
  if (!name || name === spoken.name || now - spoken.at < 1500) return;
  spoken = { name, at: now };
  $("spoken").textContent = name;
}

function showFaces(width, height, guided) {
  const { labels, colors } = state.about;
  const boxes = $("overlay");
  while (boxes.children.length > state.faces.length) boxes.lastChild.remove();
  state.faces.forEach((face, i) => {
    let box = boxes.children[i];
    if (!box) {
      box = document.createElement("button");
      box.append(new Image());
      box.onclick = () => {
        state.chosen = i;
        showFaces(width, height, guided);
      };
      boxes.append(box);
    }
    const name = labels[face.shown];
    box.className = `face${i === state.chosen && state.faces.length > 1 ? " chosen" : ""}`;
    box.style.setProperty("--tone", guided ? "transparent" : colors[face.shown]);
    box.setAttribute("aria-label", `Face ${i + 1}: ${name}, ${percent(face.probs[face.shown])}`);
    if (box.dataset.name !== name) {
      box.dataset.name = name;
      box.firstChild.src = `emoji/${name}.png`;
      box.firstChild.alt = "";
    }
    box.style.pointerEvents = guided ? "none" : "auto";
    box.firstChild.hidden = guided && !$("cover").checked;
    place(box, face.box, width, height);
  });
  if (state.chosen >= state.faces.length) state.chosen = 0;
  showReading(state.faces[state.chosen]);
}

const tell = (detail) => document.dispatchEvent(new CustomEvent("fer-seen", { detail }));

// --- camera -----------------------------------------------------------------------------------------------------------

const REFUSED = {
  NotAllowedError: "The camera was refused. Allow it in the browser's address bar, or choose a photo.",
  NotFoundError: "No camera was found. Choose a photo instead.",
  NotReadableError: "The camera is in use by another program. Close that, or choose a photo.",
};
const ONLY_LARGEST = `The ${MOST_IN_CAMERA} largest faces are read; more are in sight.`;
let facing = "user";

async function startCamera() {
  stop();
  const run = state.run;
  say("Waiting for the camera …");
  let cameras;
  try {
    if (!navigator.mediaDevices) throw new Error("The camera needs a secure page (https or localhost). Choose a photo instead.");
    const stream = await navigator.mediaDevices.getUserMedia({
      audio: false,
      video: { facingMode: facing, width: { ideal: 640 }, height: { ideal: 480 }, frameRate: { ideal: 30 } },
    });
    if (run !== state.run) return stream.getTracks().forEach((track) => track.stop());
    stream.getVideoTracks()[0].onended = () => run === state.run && (stop(), say("The camera was taken away.", true));
    $("video").srcObject = stream;
    await $("video").play();
    cameras = (await navigator.mediaDevices.enumerateDevices()).filter((d) => d.kind === "videoinput");
  } catch (error) {
    if (run !== state.run) return;
    stop();
    return say(REFUSED[error.name] || error.message, true);
  }
  if (run !== state.run) return;
  $("flip").hidden = cameras.length < 2;
  $("camera").textContent = "Stop the camera";
  $("stage").classList.toggle("mirrored", facing === "user");
  enter("camera");
  state.guide = { x: 0.5, y: 0.5, size: 0.8 };
  say(state.finder ? "" : "Without a face finder: look into the frame.");
  watch(run);
}

const nextFrame = () =>
  new Promise((go) => {
    if ($("video").requestVideoFrameCallback && !document.hidden) $("video").requestVideoFrameCallback(go);
    else requestAnimationFrame(go);
  });

/** One picture at a time, always the newest: while the worker is busy, the camera's pictures pass unseen. */
async function watch(run) {
  const video = $("video");
  const canvas = document.createElement("canvas");
  const pen = canvas.getContext("2d", { willReadFrequently: true });
  let [last, found, pause, fps] = [performance.now(), -Infinity, FIND_EVERY_MS, 0];
  let leftOut = 0; // when faces were last looked for
  while (run === state.run) {
    await nextFrame();
    if (run !== state.run || !video.videoWidth) continue;
    const shrink = Math.min(1, LONGEST_FRAME_PX / Math.max(video.videoWidth, video.videoHeight));
    const [w, h] = [Math.round(video.videoWidth * shrink), Math.round(video.videoHeight * shrink)];
    if (canvas.width !== w || canvas.height !== h) {
      Object.assign(canvas, { width: w, height: h });
      shape(w, h);
    }
    pen.drawImage(video, 0, 0, w, h);
    const taken = performance.now();
    const guide = !state.finder;
    const find = state.finder && (!state.faces.length || taken - found > pause);
    if (find) found = taken;
    const boxes = guide ? [guideBox(w, h)] : state.faces.map((face) => face.box);
    const { data, width, height } = pen.getImageData(0, 0, w, h);
    let answer;
    try {
      answer = await look({ data, width, height }, boxes, find, guide, MOST_IN_CAMERA);
    } catch (error) {
      if (run === state.run) say(`The net stopped: ${error.message}`, true);
      return;
    }
    if (run !== state.run) return;
    const now = performance.now();
    const seconds = (now - last) / 1000;
    last = now;
    fps = fps ? 0.9 * fps + 0.1 / seconds : 1 / seconds;
    if (find) leftOut = answer.leftOut;
    if (find) pause = Math.max(FIND_EVERY_MS, 4 * answer.ms); // a slow device spends its time on faces, not on finding
    state.faces = follow(state.faces, answer.faces, seconds);
    showGuide(guide, w, h);
    showFaces(w, h, guide);
    if (state.finder) say(!state.faces.length ? "No face in sight." : leftOut ? ONLY_LARGEST : "");
    $("pace").textContent = `${fps.toFixed(0)} pictures a second, ${Math.round(now - taken)} ms from picture to answer`;
    tell({ mode: "camera", ...answer, fps, delay: now - taken, label: state.faces[0] && state.about.labels[state.faces[0].shown] });
  }
}

// --- photo ------------------------------------------------------------------------------------------------------------

async function openPhoto(file) {
  stop();
  const run = state.run;
  let bitmap;
  try {
    bitmap = await createImageBitmap(file, { imageOrientation: "from-image" });
  } catch {
    return say(`${file.name || "That"} is no picture that this browser can read. Try a JPEG or PNG.`, true);
  }
  if (run !== state.run) return bitmap.close();
  const shrink = Math.min(1, LONGEST_PHOTO_PX / Math.max(bitmap.width, bitmap.height));
  const [w, h] = [bitmap.width, bitmap.height].map((v) => Math.max(Math.round(v * shrink), 1));
  Object.assign($("photo"), { width: w, height: h });
  const pen = $("photo").getContext("2d", { willReadFrequently: true });
  pen.fillStyle = "#fff"; // transparency lies on white
  pen.fillRect(0, 0, w, h);
  pen.drawImage(bitmap, 0, 0, w, h);
  bitmap.close();
  state.picture = pen.getImageData(0, 0, w, h);
  state.guide = { x: 0.5, y: 0.5, size: $("size").value / 100 };
  $("stage").classList.remove("mirrored");
  enter("photo");
  shape(w, h);
  await readPhoto(state.finder);
}

let reading = false;
let wish = null;

/** Read the photo's faces, found or in the frame. While one reading is under way, only the newest wish is kept. */
async function readPhoto(find) {
  wish = { find };
  if (reading) return;
  reading = true;
  while (wish) {
    const next = wish;
    wish = null;
    if ($("stage").dataset.mode === "photo") await readOnce(next.find);
  }
  reading = false;
}

async function readOnce(find) {
  const run = state.run;
  const { width, height } = state.picture;
  const picture = () => ({ data: state.picture.data.slice(), width, height });
  try {
    let answer = find ? await look(picture(), [], true, false, MOST_IN_PHOTO) : null;
    const guide = !answer?.faces.length;
    if (guide) answer = await look(picture(), [guideBox(width, height)], false, true, 1);
    if (run !== state.run) return;
    state.faces = answer.faces.map(({ box, probs }) => ({ box, probs, shown: best(probs) }));
    showGuide(guide, width, height);
    showFaces(width, height, guide);
    const n = state.faces.length;
    const count = answer.leftOut ? `${n + answer.leftOut} faces, the ${n} largest are read` : `${n} faces`;
    say(guide ? `${find ? "No face found: move" : "Move"} the frame over a face.` : n > 1 ? `${count}: choose one to see its bars.` : "");
    $("pace").textContent = `${Math.round(answer.ms)} ms`;
    tell({ mode: "photo", guide, width, height, ...answer });
  } catch (error) {
    if (run === state.run) say(`The net stopped: ${error.message}`, true);
  }
}

// --- the page ---------------------------------------------------------------------------------------------------------

function say(text, problem = false) {
  if ($("status").textContent !== text) $("status").textContent = text;
  $("status").classList.toggle("problem", problem);
}

function shape(width, height) {
  $("stage").style.setProperty("--ratio", `${width} / ${height}`);
  $("stage").style.setProperty("--wide", width / height);
}

function enter(mode) {
  $("stage").dataset.mode = mode;
}

function stop() {
  state.run++;
  $("video").srcObject?.getTracks().forEach((track) => track.stop());
  $("video").srcObject = null;
  state.faces = [];
  state.chosen = 0;
  $("overlay").replaceChildren();
  $("camera").textContent = "Start the camera";
  $("flip").hidden = true;
  $("pace").textContent = "";
  enter("idle");
  showGuide(false);
  showReading(null);
  say("");
}

function showFacts() {
  const { title, parameters, val_accuracy: val, test_accuracy: test } = state.about;
  const rows = [["Net", `${title}, ${(parameters / 1e6).toFixed(2)} million parameters`]];
  if (val) rows.push(["PublicTest", `${(100 * val).toFixed(1)} % right`]);
  if (test) rows.push(["PrivateTest", `${(100 * test).toFixed(1)} % right`]);
  $("facts").replaceChildren(
    ...rows.flatMap(([name, value]) => [
      Object.assign(document.createElement("dt"), { textContent: name }),
      Object.assign(document.createElement("dd"), { textContent: value }),
    ]),
  );
}

function listen() {
  $("camera").onclick = () => ($("stage").dataset.mode === "camera" ? stop() : startCamera());
  $("flip").onclick = () => {
    facing = facing === "user" ? "environment" : "user";
    startCamera();
  };
  $("file").onchange = () => {
    if ($("file").files[0]) openPhoto($("file").files[0]);
    $("file").value = "";
  };
  $("cover").onchange = () => {
    $("stage").classList.toggle("covered", $("cover").checked);
    if ($("stage").dataset.mode === "photo") readPhoto($("guide").hidden);
  };
  $("size").oninput = () => {
    state.guide.size = $("size").value / 100;
    readPhoto(false);
  };
  let grip = null; // the pointer that drags the frame, and where it was last; movementX is not in every browser
  $("guide").onpointerdown = ({ isPrimary, pointerId, clientX, clientY }) => {
    if (!isPrimary || $("stage").dataset.mode !== "photo") return;
    $("guide").setPointerCapture(pointerId);
    grip = { pointerId, clientX, clientY };
  };
  $("guide").onpointermove = ({ buttons, pointerId, clientX, clientY }) => {
    if (!buttons || pointerId !== grip?.pointerId || $("stage").dataset.mode !== "photo") return;
    const { clientWidth, clientHeight } = $("stage");
    moveGuide((clientX - grip.clientX) / clientWidth, (clientY - grip.clientY) / clientHeight);
    grip = { pointerId, clientX, clientY };
  };
  $("guide").onlostpointercapture = ({ pointerId }) => pointerId === grip?.pointerId && (grip = null);
  $("guide").onkeydown = (event) => {
    const step = { ArrowLeft: [-0.02, 0], ArrowRight: [0.02, 0], ArrowUp: [0, -0.02], ArrowDown: [0, 0.02] }[event.key];
    if (!step) return;
    event.preventDefault();
    moveGuide(...step);
  };
  document.ondragover = (event) => {
    event.preventDefault();
    $("stage").classList.add("dragged");
  };
  document.ondragleave = () => $("stage").classList.remove("dragged");
  document.ondrop = (event) => {
    event.preventDefault();
    $("stage").classList.remove("dragged");
    if (event.dataTransfer.files[0]) openPhoto(event.dataTransfer.files[0]);
  };
  document.onpaste = (event) => event.clipboardData.files[0] && openPhoto(event.clipboardData.files[0]);
  for (const link of document.querySelectorAll('a[href="#card"]')) link.onclick = () => ($("card").open = true);
}

async function begin() {
  try {
    state.about = await (await fetch("about.json")).json();
    buildBars();
    showReading(null);
    showFacts();
    await ask("start", state.about);
  } catch (error) {
    return say(`The net could not be loaded (${error.message}). Reload the page, or try another browser.`, true);
  }
  listen();
  $("camera").disabled = false;
  $("file").disabled = false;
  document.body.dataset.ready = "net";
  say("");
  try {
    await ask("fetchFinder");
    state.finder = true;
    document.body.dataset.ready = "finder";
    if ($("stage").dataset.mode === "photo" && !$("guide").hidden) readPhoto(true);
  } catch {
    document.body.dataset.ready = "guide"; // offline, or not the file it should be: the frame does
  }
}

begin();
