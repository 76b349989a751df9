// Gradio's own camera boxes (the pages Photo and Video) say nothing when the camera does not start: their promise is
// rejected and nobody listens. Here the reason is shown in the box, until the camera starts or it has been read.

const SHOWN_MS = 15000;
const CAMERA = 'video[data-testid="webcam-video"]';
let told = null; // the message in sight
let until = 0; // the timer that takes it away

function takeAway() {
  clearTimeout(until);
  told?.remove();
  told = null;
}

function tell(text) {
  const camera = [...document.querySelectorAll(CAMERA)].find((video) => video.parentElement.offsetWidth);
  const box = camera?.closest(".block");
  if (!box) return false;
  takeAway();
  told = document.createElement("p");
  told.className = "fer-refused";
  told.setAttribute("role", "alert");
  box.append(told);
  told.textContent = text; // after it is in the page, so that it is read out
  until = setTimeout(takeAway, SHOWN_MS);
  return true;
}

addEventListener("unhandledrejection", (event) => {
  const error = event.reason;
  const insecure = !navigator.mediaDevices && /mediaDevices|getUserMedia/.test(error?.message);
  const text = insecure ? INSECURE : REFUSED[error?.name];
  if (text && tell(text)) event.preventDefault();
});
for (const name of ["play", "loadeddata"]) {
  document.addEventListener(name, (event) => event.target.matches?.(CAMERA) && takeAway(), true);
}
