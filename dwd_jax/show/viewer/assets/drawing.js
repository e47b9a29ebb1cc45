// The page's picture is an element that the browser scales; the boxes are drawn
// on a canvas of the stage's size above it.

const canvas = document.getElementById("boxes");
const context = canvas.getContext("2d");
const paper = document.getElementById("paper");
const tip = document.getElementById("tip");

/** What the last drawings were, for tests and benchmarks. */
const drawing = { drawn: 0, times: [] };
const MAX_TIMES = 1000;

let frame = 0;

/** Draws before the next frame, once, however often it is asked. */
function requestDraw() {
  if (!frame) frame = requestAnimationFrame(draw);
}

function draw() {
  frame = 0;
  const start = performance.now();
  const ratio = window.devicePixelRatio || 1;
  context.setTransform(ratio, 0, 0, ratio, 0, 0);
  context.clearRect(0, 0, stageSize.width, stageSize.height);
  drawing.drawn = 0;
  if (current) {
    paper.style.transform =
      `translate(${view.x}px, ${view.y}px) scale(${view.scale})`;
    if (!state.hidden) {
      drawStaves();
      drawBoxes();
    }
    drawMarked(state.hovered, false);
    drawMarked(state.pinned, true);
    placeTip();
  }
  drawing.times.push(performance.now() - start);
  if (drawing.times.length > MAX_TIMES) drawing.times.shift();
}

function drawStaves() {
  const path = new Path2D();
  for (const points of current.staffLines) {
    for (let k = 0; k < points.length; k += 2) {
      path[k ? "lineTo" : "moveTo"](...toStage(points[k + 1], points[k]));
    }
  }
  context.lineWidth = 1;
  context.strokeStyle = DATA.staffColour;
  context.stroke(path);
}

function drawBoxes() {
  context.lineWidth = lineWidth();
  let colour = "";
  let path = null;
  const finish = () => {
    if (!path) return;
    context.strokeStyle = colour;
    context.fillStyle = colour;
    context.globalAlpha = 0.12;
    context.fill(path);
    context.globalAlpha = 1;
    context.stroke(path);
  };
  // One path for all boxes of a colour is far cheaper than one for each.
  for (const i of shown.order) {
    const next = colourOf(i);
    if (next !== colour) {
      finish();
      colour = next;
      path = new Path2D();
    }
    const [x, y, width, height] = outline(i);
    if (x > stageSize.width || y > stageSize.height) continue;
    if (x + width < 0 || y + height < 0) continue;
    trace(path, i, 0);
    drawing.drawn++;
  }
  finish();
}

function lineWidth() {
  return Math.min(Math.max(view.scale * 1.2, 1), 2.5);
}

/** Box in the stage, around what it marks: x, y, width, height. */
function outline(i) {
  const { boxes } = current;
  const half = lineWidth() / 2;
  return [
    view.scale * boxes[4 * i + 1] + view.x - half,
    view.scale * boxes[4 * i] + view.y - half,
    view.scale * (boxes[4 * i + 3] - boxes[4 * i + 1]) + 2 * half,
    view.scale * (boxes[4 * i + 2] - boxes[4 * i]) + 2 * half,
  ];
}

/** Adds a box, or its corners if it is oriented, to a path, larger by `more`. */
function trace(path, i, more) {
  const { outlines } = current;
  if (!outlines) {
    const [x, y, width, height] = outline(i);
    path.rect(x - more, y - more, width + 2 * more, height + 2 * more);
    return;
  }
  const corners = outlines.subarray(8 * i, 8 * i + 8);
  const half = lineWidth() / 2 + more;
  const middle = [0, 1].map(
    (k) => (corners[k] + corners[2 + k] + corners[4 + k] + corners[6 + k]) / 4,
  );
  for (let k = 0; k < 8; k += 2) {
    const [dy, dx] = [corners[k] - middle[0], corners[k + 1] - middle[1]];
    path[k ? "lineTo" : "moveTo"](
      view.scale * corners[k + 1] + view.x + half * Math.sign(dx),
      view.scale * corners[k] + view.y + half * Math.sign(dy),
    );
  }
  path.closePath();
}

function drawMarked(i, pinned) {
  if (i < 0) return;
  const rims = pinned
    ? [[6, "#ffffff"], [4, "#111111"], [2, colourOf(i)]]
    : [[5, "#ffffff"], [3, colourOf(i)]];
  for (const [thickness, colour] of rims) {
    context.lineWidth = thickness;
    context.strokeStyle = colour;
    context.beginPath();
    trace(context, i, 1);
    context.stroke();
  }
}

/** The box that the tip tells of: under the pointer, else the pinned one. */
function markedBox() {
  return state.hovered >= 0 ? state.hovered : state.pinned;
}

function placeTip() {
  const i = markedBox();
  if (i < 0) return;
  const [x, y, width, height] = outline(i);
  const gap = 8;
  const below = y + height + gap;
  const fits = below + tip.offsetHeight < stageSize.height;
  const top = fits ? below : Math.max(y - gap - tip.offsetHeight, gap);
  const left = x + width / 2 - tip.offsetWidth / 2;
  const most = stageSize.width - tip.offsetWidth - gap;
  tip.style.transform =
    `translate(${Math.max(Math.min(left, most), gap)}px, ${top}px)`;
}

function fillTip() {
  const i = markedBox();
  tip.hidden = i < 0;
  if (i < 0) return;
  const text = describe(i);
  tip.querySelector("i").style.background = colourOf(i);
  tip.querySelector("strong").textContent = text.name;
  tip.querySelector(".outcome").textContent = text.outcome;
  const numbers = [text.score, text.size, text.position].filter(Boolean);
  tip.querySelector(".numbers").textContent = numbers.join(" · ");
  tip.classList.toggle("pinned", i === state.pinned);
}

/** Gives the canvas the pixels of its place on the screen. */
function resizeCanvas(width, height) {
  const ratio = window.devicePixelRatio || 1;
  stageSize.width = width;
  stageSize.height = height;
  canvas.width = Math.max(1, Math.round(width * ratio));
  canvas.height = Math.max(1, Math.round(height * ratio));
}
