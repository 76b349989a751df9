// The page's side of worker.js: a question is a message, its answer a promise.

const worker = new Worker("worker.js", { type: "module" });
const waiting = new Map();
let asked = 0;

worker.onmessage = ({ data: { id, output, error } }) => {
  const { resolve, reject } = waiting.get(id);
  waiting.delete(id);
  if (error) reject(new Error(error));
  else resolve(output);
};

export function ask(task, input, transfer = []) {
  return new Promise((resolve, reject) => {
    waiting.set(++asked, { resolve, reject });
    worker.postMessage({ id: asked, task, input }, transfer);
  });
}

/** At most `most` faces of a picture and their probabilities. The picture's pixels are handed over. */
export function look(picture, boxes, find, guide, most) {
  return ask("look", { picture, boxes, find, guide, most }, [picture.data.buffer]);
}
