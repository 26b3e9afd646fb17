// Hands in WebGL: seen from anywhere (Orbit), or over a picture as its camera sees them (drawOver). No dependencies.
// Vertices are those of lgnet: metres in the camera's frame, x right, y down, z forward.

const COLOURS = { right: [0.882, 0.243, 0.22], left: [0.204, 0.408, 0.91] }; // as lgnet/visualize.py
const HALF_VIEW = Math.tan((35 / 2) * (Math.PI / 180));

const VERTEX = `
attribute vec3 position, normal;
uniform mat4 view, projection;
varying vec3 at, way;
void main() {
  vec4 seen = view * vec4(position, 1.0);
  at = seen.xyz;
  way = mat3(view[0].xyz, view[1].xyz, view[2].xyz) * normal;
  gl_Position = projection * seen;
}`;
// a key light from the upper left, a faint one from below, a little shine and a bright rim, so that outlines show
const FRAGMENT = `
precision mediump float;
varying vec3 at, way;
uniform vec3 colour;
uniform float opacity, plain;
void main() {
  vec3 to = normalize(-at), n = normalize(way);
  if (dot(n, to) < 0.0) n = -n;
  vec3 key = normalize(vec3(-0.45, 0.6, 0.75));
  float light = 0.34 + 0.62 * max(dot(n, key), 0.0) + 0.12 * max(dot(n, normalize(vec3(0.6, -0.7, 0.2))), 0.0);
  float shine = 0.18 * pow(max(dot(n, normalize(key + to)), 0.0), 24.0);
  float rim = 0.22 * pow(1.0 - dot(n, to), 3.0);
  vec3 lit = mix(colour * light + shine + rim, colour, plain);
  gl_FragColor = vec4(lit * opacity, opacity);
}`;

/** The triangles of a side, as they came. */
export function decodeFaces(text) {
  const bytes = Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
  return new Uint16Array(bytes.buffer);
}

/** [{side, vertices: Float32Array}] of an answer's hands. */
export function decodeHands(hands) {
  return hands.map((hand) => {
    const bytes = Uint8Array.from(atob(hand.vertices), (c) => c.charCodeAt(0));
    return { side: hand.side, vertices: new Float32Array(bytes.buffer) };
  });
}

function smoothNormals(vertices, faces) {
  const out = new Float32Array(vertices.length);
  for (let f = 0; f < faces.length; f += 3) {
    const [a, b, c] = [3 * faces[f], 3 * faces[f + 1], 3 * faces[f + 2]];
    const e = [0, 1, 2].map((k) => vertices[b + k] - vertices[a + k]);
    const g = [0, 1, 2].map((k) => vertices[c + k] - vertices[a + k]);
    for (let k = 0; k < 3; k++) {
      const i = (k + 1) % 3;
      const j = (k + 2) % 3;
      const n = e[i] * g[j] - e[j] * g[i];
      out[a + k] += n;
      out[b + k] += n;
      out[c + k] += n;
    }
  }
  return out; // of any length: the shader normalises
}

function edgesOf(faces) {
  const seen = new Set();
  for (let f = 0; f < faces.length; f += 3) {
    for (const [i, j] of [[0, 1], [1, 2], [2, 0]]) {
      const [a, b] = [faces[f + i], faces[f + j]];
      seen.add(Math.min(a, b) * 65536 + Math.max(a, b));
    }
  }
  return Uint16Array.from([...seen].flatMap((key) => [Math.floor(key / 65536), key % 65536]));
}

/** A canvas that hands are drawn on by matrices: 16 numbers each, column by column. */
class Painter {
  constructor(canvas, faces) {
    const gl = canvas.getContext("webgl", { antialias: true, premultipliedAlpha: true, preserveDrawingBuffer: true });
    if (!gl) throw new Error("This browser shows no 3D and no hands over the live picture (WebGL is off); everything else works.");
    this.gl = gl;
    this.program = gl.createProgram();
    for (const [kind, text] of [[gl.VERTEX_SHADER, VERTEX], [gl.FRAGMENT_SHADER, FRAGMENT]]) {
      const shader = gl.createShader(kind);
      gl.shaderSource(shader, text);
      gl.compileShader(shader);
      gl.attachShader(this.program, shader);
    }
    gl.linkProgram(this.program);
    if (!gl.getProgramParameter(this.program, gl.LINK_STATUS)) throw new Error(gl.getProgramInfoLog(this.program));
    gl.useProgram(this.program);
    gl.enable(gl.DEPTH_TEST);
    this.faces = faces;
    this.indices = {};
    for (const [side, list] of Object.entries(faces)) {
      this.indices[side] = {};
      for (const [way, numbers] of [["solid", list], ["wire", edgesOf(list)]]) {
        const buffer = gl.createBuffer();
        gl.bindBuffer(gl.ELEMENT_ARRAY_BUFFER, buffer);
        gl.bufferData(gl.ELEMENT_ARRAY_BUFFER, numbers, gl.STATIC_DRAW);
        this.indices[side][way] = { buffer, count: numbers.length };
      }
    }
    this.places = Object.fromEntries(
      ["view", "projection", "colour", "opacity", "plain"].map((name) => [name, gl.getUniformLocation(this.program, name)]),
    );
    this.buffers = {};
    this.hands = [];
  }

  set(hands) {
    const { gl } = this;
    this.hands = hands;
    for (const { side, vertices } of hands) {
      for (const [name, values] of [["position", vertices], ["normal", smoothNormals(vertices, this.faces[side])]]) {
        const key = side + name;
        this.buffers[key] ??= gl.createBuffer();
        gl.bindBuffer(gl.ARRAY_BUFFER, this.buffers[key]);
        gl.bufferData(gl.ARRAY_BUFFER, values, gl.DYNAMIC_DRAW);
      }
    }
  }

  paint(view, projection, { opacity = 1, way = "solid" } = {}) {
    const { gl, places } = this;
    gl.viewport(0, 0, gl.drawingBufferWidth, gl.drawingBufferHeight);
    gl.clearColor(0, 0, 0, 0);
    gl.clear(gl.COLOR_BUFFER_BIT | gl.DEPTH_BUFFER_BIT);
    gl.uniformMatrix4fv(places.view, false, view);
    gl.uniformMatrix4fv(places.projection, false, projection);
    gl.uniform1f(places.opacity, opacity);
    gl.uniform1f(places.plain, way === "wire" ? 1 : 0);
    for (const { side } of this.hands) {
      gl.uniform3fv(places.colour, COLOURS[side]);
      for (const name of ["position", "normal"]) {
        const slot = gl.getAttribLocation(this.program, name);
        if (slot < 0) continue;
        gl.bindBuffer(gl.ARRAY_BUFFER, this.buffers[side + name]);
        gl.enableVertexAttribArray(slot);
        gl.vertexAttribPointer(slot, 3, gl.FLOAT, false, 0, 0);
      }
      const { buffer, count } = this.indices[side][way];
      gl.bindBuffer(gl.ELEMENT_ARRAY_BUFFER, buffer);
      gl.drawElements(way === "wire" ? gl.LINES : gl.TRIANGLES, count, gl.UNSIGNED_SHORT, 0);
    }
  }
}

/** Half a turn about x: the camera's frame as WebGL's, y up and z backward. */
const TURNED = [1, 0, 0, 0, 0, -1, 0, 0, 0, 0, -1, 0, 0, 0, 0, 1];

/** Draws hands over a picture: `over(hands, camera, width, height)`, the size being the picture's. */
export function overlayOn(canvas, faces) {
  const painter = new Painter(canvas, faces);
  return (hands, camera, width, height) => {
    if (canvas.width !== width || canvas.height !== height) Object.assign(canvas, { width, height });
    const { fx, fy, cx, cy } = camera;
    const [near, far] = [0.02, 20];
    const projection = [
      (2 * fx) / width, 0, 0, 0,
      0, (2 * fy) / height, 0, 0,
      1 - (2 * (cx + 0.5)) / width, (2 * (cy + 0.5)) / height - 1, -(far + near) / (far - near), -1,
      0, 0, (-2 * far * near) / (far - near), 0,
    ];
    painter.set(hands);
    painter.paint(TURNED, projection, { opacity: 0.8 });
  };
}

/** Hands on a canvas that can be turned by mouse, touch and keys. */
export class Orbit {
  constructor(canvas, faces, bar) {
    this.canvas = canvas;
    this.painter = new Painter(canvas, faces);
    this.way = "solid";
    this.placed = false;
    this.target = [0, 0, 0];
    this.radius = 0.15;
    this.pointers = new Map();
    this.reset();
    canvas.tabIndex = 0;
    canvas.setAttribute("role", "img");
    canvas.setAttribute("aria-label", "Both hands in 3D. Arrow keys turn, plus and minus zoom, Home goes back.");
    this.#listen();
    new ResizeObserver(() => this.#ask()).observe(canvas);
    if (bar) this.#buttons(bar);
  }

  /** Hands to be seen; the view goes to them at first, and then follows slowly. */
  show(hands, again = false) {
    this.painter.set(hands);
    if (hands.length) {
      const low = [Infinity, Infinity, Infinity];
      const high = [-Infinity, -Infinity, -Infinity];
      for (const { vertices } of hands) {
        for (let i = 0; i < vertices.length; i++) {
          low[i % 3] = Math.min(low[i % 3], vertices[i]);
          high[i % 3] = Math.max(high[i % 3], vertices[i]);
        }
      }
      const share = again || !this.placed ? 1 : 0.08;
      const middle = low.map((v, k) => (v + high[k]) / 2);
      let radius = 0.06;
      for (const { vertices } of hands) {
        for (let i = 0; i < vertices.length; i += 3) {
          const far = Math.hypot(vertices[i] - middle[0], vertices[i + 1] - middle[1], vertices[i + 2] - middle[2]);
          radius = Math.max(radius, far);
        }
      }
      this.target = this.target.map((v, k) => v + share * (middle[k] - v));
      this.radius += share * (radius - this.radius);
      this.placed = true;
    } else if (again) this.placed = false;
    this.#ask();
  }

  /** As the picture's camera looks at them. */
  reset(yaw = 0, pitch = 0) {
    Object.assign(this, { yaw, pitch, zoom: 1, shift: [0, 0] });
    this.#ask();
  }

  turn(dx, dy) {
    this.yaw += dx;
    this.pitch = Math.max(-1.55, Math.min(1.55, this.pitch + dy));
    this.#ask();
  }

  closer(factor) {
    this.zoom = Math.max(0.25, Math.min(8, this.zoom * factor));
    this.#ask();
  }

  #ask() {
    this.asked ??= requestAnimationFrame(() => {
      this.asked = undefined;
      this.#draw();
    });
  }

  #draw() {
    const { canvas, yaw, pitch } = this;
    const scale = Math.min(devicePixelRatio || 1, 2);
    const [w, h] = [canvas.clientWidth * scale, canvas.clientHeight * scale].map(Math.round);
    if (!w || !h) return;
    if (canvas.width !== w || canvas.height !== h) Object.assign(canvas, { width: w, height: h });
    const [cy, sy, cp, sp] = [Math.cos(yaw), Math.sin(yaw), Math.cos(pitch), Math.sin(pitch)];
    // pitch after yaw, of the turned frame (x, -y, -z): rows of the rotation in the camera's own axes
    const rows = [[cy, 0, -sy], [sp * sy, -cp, sp * cy], [-cp * sy, -sp, -cp * cy]];
    const fit = HALF_VIEW * Math.min(1, w / h);
    const away = (1.05 * this.radius) / Math.sin(Math.atan(fit)) / this.zoom;
    const move = rows.map((row) => -row.reduce((sum, v, k) => sum + v * this.target[k], 0));
    move[0] += this.shift[0];
    move[1] += this.shift[1];
    move[2] -= away;
    const view = [0, 1, 2].flatMap((k) => [rows[0][k], rows[1][k], rows[2][k], 0]).concat(move, 1);
    const [near, far] = [Math.max(away - 8 * this.radius, away / 50), away + 8 * this.radius];
    const f = 1 / HALF_VIEW;
    const projection = [
      (f * h) / w, 0, 0, 0, 0, f, 0, 0,
      0, 0, (far + near) / (near - far), -1, 0, 0, (2 * far * near) / (near - far), 0,
    ];
    this.away = away;
    this.painter.paint(view, projection, { way: this.way });
  }

  #listen() {
    const { canvas, pointers } = this;
    const step = () => 4 / Math.max(canvas.clientWidth, 1);
    canvas.addEventListener("pointerdown", (e) => {
      canvas.setPointerCapture(e.pointerId);
      pointers.set(e.pointerId, [e.clientX, e.clientY]);
    });
    for (const name of ["pointerup", "pointercancel"]) canvas.addEventListener(name, (e) => pointers.delete(e.pointerId));
    canvas.addEventListener("pointermove", (e) => {
      const before = pointers.get(e.pointerId);
      if (!before) return;
      const [dx, dy] = [e.clientX - before[0], e.clientY - before[1]];
      const other = [...pointers].find(([id]) => id !== e.pointerId)?.[1];
      if (other) {
        const apart = (p) => Math.max(10, Math.hypot(p[0] - other[0], p[1] - other[1]));
        this.closer(apart([e.clientX, e.clientY]) / apart(before));
      }
      if (other || e.shiftKey || e.buttons === 2) {
        const metres = (2 * HALF_VIEW * this.away) / canvas.clientHeight / (other ? 2 : 1);
        this.shift = [this.shift[0] + dx * metres, this.shift[1] - dy * metres];
        this.#ask();
      } else this.turn(dx * step(), dy * step());
      pointers.set(e.pointerId, [e.clientX, e.clientY]);
    });
    canvas.addEventListener("contextmenu", (e) => e.preventDefault());
    canvas.addEventListener("wheel", (e) => {
      e.preventDefault();
      this.closer(Math.exp(-e.deltaY * (e.deltaMode ? 0.05 : 0.0012)));
    }, { passive: false });
    canvas.addEventListener("dblclick", () => this.reset());
    canvas.addEventListener("keydown", (e) => {
      const keys = {
        ArrowLeft: () => this.turn(-0.15, 0), ArrowRight: () => this.turn(0.15, 0),
        ArrowUp: () => this.turn(0, -0.15), ArrowDown: () => this.turn(0, 0.15),
        "+": () => this.closer(1.15), "=": () => this.closer(1.15), "-": () => this.closer(1 / 1.15),
        Home: () => this.reset(),
      };
      if (!keys[e.key] || e.ctrlKey || e.metaKey || e.altKey) return;
      e.preventDefault();
      keys[e.key]();
    });
  }

  #buttons(bar) {
    const add = (name, act, end = false) => {
      const button = document.createElement("button");
      button.textContent = name;
      button.addEventListener("click", () => act(button));
      if (end) button.className = "end";
      bar.append(button);
      return button;
    };
    const half = Math.PI / 2;
    add("Front", () => this.reset());
    add("Side", () => this.reset(half, 0));
    add("Top", () => this.reset(0, 1.55));
    add("Behind", () => this.reset(2 * half, 0));
    const wire = add("Wire", () => {
      this.way = this.way === "wire" ? "solid" : "wire";
      wire.setAttribute("aria-pressed", String(this.way === "wire"));
      this.#ask();
    }, true);
    wire.setAttribute("aria-pressed", "false");
  }
}
