// What the page Emoji mirror draws: over every face the emoji of the moment, one fading into the next.

function mirrorView(root, settings) {
  const overlay = root.querySelector(".lv-overlay");
  const LARGER = 1.3; // than the face's box, so that hair and chin are covered
  let tools = { emoji: {} };

  function newFace(names) {
    const face = document.createElement("span");
    face.className = "lv-cover";
    face.append(
      ...names.map((name) => {
        const image = Object.assign(new Image(), { src: tools.emoji[name], alt: "" });
        image.dataset.label = name;
        return image;
      }),
    );
    return face;
  }

  function set({ fade, plain }) {
    if (fade !== undefined) root.style.setProperty("--fade", `${fade}s`);
    if (plain !== undefined) root.classList.toggle("plain", plain);
  }
  set(settings);

  return {
    set,
    load(given) {
      tools = given;
    },
    clear() {
      root.classList.remove("seeing");
      overlay.replaceChildren();
    },
    draw(answer) {
      const [width, height] = answer.size;
      const old = new Map([...overlay.children].map((child) => [child.dataset.id, child]));
      for (const { id, box, label } of answer.faces) {
        const face = old.get(String(id)) || newFace(answer.labels);
        old.delete(String(id));
        const side = LARGER * Math.max(box[2] - box[0], box[3] - box[1]);
        face.dataset.id = id;
        Object.assign(face.style, {
          left: `${(50 * (box[0] + box[2] - side)) / width}%`,
          top: `${(50 * (box[1] + box[3] - side)) / height}%`,
          width: `${(100 * side) / width}%`,
          height: `${(100 * side) / height}%`,
          zIndex: Math.round(side), // the nearer ones in front
        });
        face.dataset.label = label;
        for (const image of face.children) image.classList.toggle("on", image.dataset.label === label);
        if (!face.isConnected) overlay.append(face);
      }
      old.forEach((child) => child.remove());
    },
  };
}
