// What the page Live draws: boxes with names and bars over the picture, the chosen face's bars, the last 30 seconds.

function liveView(root) {
  const $ = (name) => root.querySelector(`.lv-${name}`);
  const SECONDS = 30;
  const RATE_HZ = 10;
  const MINI_PX = 92; // room for the bars beside a face
  let tools = { emoji: {}, colors: {}, unsureBelow: 0 };
  let labels = [];
  let chosen = null; // number of a face
  let drawn = 0;
  const past = new Map(); // number of a face -> [{t, probs, label}]
  const share = (p) => `${Math.round(100 * p)} %`;

  function setLabels(names) {
    if (names.join() === labels.join()) return;
    labels = names;
    past.clear();
    $("overlay").replaceChildren();
    $("bars").replaceChildren(
      ...labels.map((name) => {
        const line = document.createElement("li");
        line.style.setProperty("--tone", tools.colors[name]);
        line.innerHTML =
          '<img alt=""><span class="lv-name"></span><span class="lv-track"><span class="lv-fill"></span></span><span class="lv-share"></span>';
        line.querySelector("img").src = tools.emoji[name];
        line.querySelector(".lv-name").textContent = name;
        return line;
      }),
    );
  }

  function newFace() {
    const face = document.createElement("button");
    face.type = "button";
    face.className = "lv-face";
    face.innerHTML = '<span class="lv-tag"><img alt=""><span></span></span><span class="lv-mini"></span>';
    face.querySelector(".lv-mini").replaceChildren(
      ...labels.map((name) => {
        const bar = document.createElement("span");
        bar.style.setProperty("--tone", tools.colors[name]);
        bar.append(Object.assign(new Image(), { src: tools.emoji[name], alt: "" }), document.createElement("i"));
        return bar;
      }),
    );
    face.onclick = () => (chosen = Number(face.dataset.id));
    return face;
  }

  /** The side of a face on which its bars cover no other face: "right", "left" or "none". */
  function roomFor(face, all, scale, width) {
    const [l, t, r, b] = face.box.map((v) => v * scale);
    if (b - t < 84) return "none";
    const free = (x0, x1) =>
      x0 >= 0 &&
      x1 <= width &&
      all.every((other) => {
        const [ol, ot, or, ob] = other.box.map((v) => v * scale);
        return other === face || or <= x0 || ol >= x1 || ob <= t || ot >= b;
      });
    if (free(r, r + MINI_PX)) return "right";
    return free(l - MINI_PX, l) ? "left" : "none";
  }

  function drawFaces(answer) {
    const overlay = $("overlay");
    const [width, height] = answer.size;
    const scale = overlay.clientWidth / width;
    const old = new Map([...overlay.children].map((child) => [child.dataset.id, child]));
    for (const face of answer.faces) {
      const box = old.get(String(face.id)) || newFace();
      old.delete(String(face.id));
      if (!box.isConnected) overlay.append(box);
      box.dataset.id = face.id;
      const [l, t, r, b] = face.box;
      const p = face.probs[labels.indexOf(face.label)];
      Object.assign(box.style, {
        left: `${(100 * l) / width}%`,
        top: `${(100 * t) / height}%`,
        width: `${(100 * (r - l)) / width}%`,
        height: `${(100 * (b - t)) / height}%`,
      });
      box.style.setProperty("--tone", tools.colors[face.label]);
      box.dataset.bars = roomFor(face, answer.faces, scale, overlay.clientWidth);
      box.classList.toggle("lv-chosen", face.id === chosen && answer.faces.length > 1);
      box.classList.toggle("lv-low", t * scale < 34);
      box.classList.toggle("lv-far", l * scale > overlay.clientWidth - 150);
      box.setAttribute("aria-label", `Face ${face.id}: ${face.label}, ${share(p)}`);
      const [image, text] = box.querySelector(".lv-tag").children;
      if (image.dataset.label !== face.label) {
        image.dataset.label = face.label;
        image.src = tools.emoji[face.label];
      }
      text.textContent = `${face.label} ${share(p)}`;
      box.querySelectorAll(".lv-mini i").forEach((bar, i) => {
        bar.style.transform = `scaleX(${face.probs[i]})`;
      });
    }
    old.forEach((child) => child.remove());
  }

  function drawReading(face) {
    root.classList.toggle("lv-nobody", !face);
    const p = face ? face.probs[labels.indexOf(face.label)] : 0;
    const image = $("emoji");
    const name = face ? face.label : "neutral";
    if (image.dataset.label !== name) {
      image.dataset.label = name;
      image.src = tools.emoji[name];
    }
    $("label").textContent = face ? face.label : "Nobody yet";
    $("sure").textContent = face ? share(p) + (p < tools.unsureBelow ? ", not sure" : "") + (face.calibrated ? ", calibrated" : "") : "";
    [...$("bars").children].forEach((line, i) => {
      line.classList.toggle("lv-first", Boolean(face) && labels[i] === face.label);
      line.querySelector(".lv-fill").style.transform = `scaleX(${face ? face.probs[i] : 0})`;
      line.querySelector(".lv-share").textContent = face ? share(face.probs[i]) : "–";
    });
  }

  function remember(faces, t) {
    for (const face of faces) {
      const moments = past.get(face.id) || [];
      past.set(face.id, moments);
      if (!moments.length || t - moments.at(-1).t >= 1 / RATE_HZ) moments.push({ t, probs: face.probs, label: face.label });
    }
    for (const [id, moments] of past) {
      while (moments.length && moments[0].t < t - SECONDS) moments.shift();
      if (!moments.length) past.delete(id);
    }
  }

  /** Bands as high as the probabilities, one above the other, now at the right; gaps where the face was not seen. */
  function drawTimeline(now) {
    const canvas = $("timeline");
    const dense = window.devicePixelRatio || 1;
    const [w, h] = [canvas.clientWidth, canvas.clientHeight];
    if (!w) return;
    if (canvas.width !== Math.round(w * dense) || canvas.height !== Math.round(h * dense)) {
      Object.assign(canvas, { width: Math.round(w * dense), height: Math.round(h * dense) });
    }
    const pen = canvas.getContext("2d");
    pen.setTransform(dense, 0, 0, dense, 0, 0);
    pen.clearRect(0, 0, w, h);
    const moments = past.get(chosen) || [];
    const x = (t) => w * (1 - (now - t) / SECONDS);
    let begin = 0;
    moments.forEach((m, k) => {
      const last = k === moments.length - 1 || moments[k + 1].t - m.t > 1;
      if (!last) return;
      drawBands(pen, moments.slice(begin, k + 1), x, h);
      begin = k + 1;
    });
    canvas.dataset.moments = moments.length;
    canvas.dataset.seconds = moments.length ? (moments.at(-1).t - moments[0].t).toFixed(1) : 0;
  }

  function drawBands(pen, moments, x, h) {
    const base = moments.map(() => h);
    labels.forEach((name, i) => {
      const top = moments.map((m, k) => base[k] - m.probs[i] * h);
      pen.beginPath();
      moments.forEach((m, k) => pen.lineTo(x(m.t), top[k]));
      for (let k = moments.length - 1; k >= 0; k--) pen.lineTo(x(moments[k].t), base[k]);
      pen.fillStyle = tools.colors[name];
      pen.fill();
      top.forEach((y, k) => (base[k] = y));
    });
  }

  return {
    load(given) {
      tools = given;
      if (!labels.length) setLabels(tools.usual);
      drawReading(null);
    },
    clear() {
      past.clear();
      chosen = null;
      root.classList.remove("seeing");
      $("overlay").replaceChildren();
      if (labels.length) drawReading(null);
      drawTimeline(0);
    },
    draw(answer, t) {
      setLabels(answer.labels);
      const faces = answer.faces;
      if (!faces.some((f) => f.id === chosen) && faces.length) {
        chosen = faces.reduce((a, b) => (b.box[2] - b.box[0] > a.box[2] - a.box[0] ? b : a)).id;
      }
      remember(faces, t);
      drawFaces(answer);
      drawReading(faces.find((f) => f.id === chosen));
      if (t - drawn < 0.2 && t > drawn) return;
      drawn = t;
      drawTimeline(t);
    },
  };
}
