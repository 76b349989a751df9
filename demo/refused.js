// Why a camera does not start, in words. Goes into the page before camera.js and before snapshot.js.

const REFUSED = {
  NotAllowedError: "The camera was refused. Allow it beside the address of this page, then start again.",
  NotFoundError: "No camera was found. Connect one, then start again.",
  NotReadableError: "The camera is in use by another program. Close that, then start again.",
};
const INSECURE = "A browser gives its camera to secure pages only (https or localhost).";
