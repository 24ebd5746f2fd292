/**
 * Points by WebGL2. Our own instead of a library: a scatter plot needs one shader and two buffers, while
 * regl-scatterplot brings regl and d3 (72 kB gzipped, where this whole page has 30), and no keyboard. 100,000 points
 * are one draw call here as well. Of more, one sees how dense they are: they add up in a texture, of which a second
 * step makes the colour (the mean of those that lie there) and how strong it is (the logarithm of their number).
 */
import { type Camera, scaleOf, type Size } from "./camera";

/** How a point stands out: drawn in this order, so that the last lie on top. */
export const MARK = { plain: 0, faded: 1, chosen: 2, result: 3 } as const;

/** RGB in 0…1; the shader holds this many. */
export const MOST_COLOURS = 16;

const VERTEX = `#version 300 es
in vec2 place;
in float colour;
in float mark;
uniform vec2 centre;
uniform vec2 scale;
uniform float size;
uniform float pass;
uniform vec3 colours[${MOST_COLOURS}];
out vec3 tint;
out float alpha;
out float ring;
void main() {
  // A point of another pass is moved out of sight.
  bool mine = pass < 0.5 ? mark < 1.5 : mark > 1.5;
  gl_Position = mine ? vec4((place - centre) * scale, 0.0, 1.0) : vec4(2.0, 2.0, 0.0, 1.0);
  ring = mark > 2.5 ? 1.0 : 0.0;
  gl_PointSize = size * (mark > 2.5 ? 2.0 : mark > 1.5 ? 1.3 : 1.0);
  alpha = mark > 0.5 && mark < 1.5 ? 0.3 : 0.85;
  tint = colours[int(colour)];
}`;

const FRAGMENT = `#version 300 es
precision mediump float;
in vec3 tint;
in float alpha;
in float ring;
uniform vec3 outline;
uniform bool adds;
out vec4 pixel;
void main() {
  float far = length(gl_PointCoord - 0.5) * 2.0;
  if (adds) {
    float weight = max(0.0, 1.0 - far * far) * (alpha < 0.5 ? 0.04 : 1.0);
    pixel = vec4(tint, 1.0) * weight;
    return;
  }
  float soft = fwidth(far);
  float cover = 1.0 - smoothstep(1.0 - soft, 1.0, far);
  float edge = ring * smoothstep(0.62, 0.62 + soft, far);
  // Premultiplied, as the canvas expects.
  float opaque = max(alpha, ring) * cover;
  pixel = vec4(mix(tint, outline, edge) * opaque, opaque);
}`;

/** One triangle over all of the view. */
const WHOLE = `#version 300 es
void main() {
  gl_Position = vec4(float(gl_VertexID / 2) * 4.0 - 1.0, float(gl_VertexID % 2) * 4.0 - 1.0, 0.0, 1.0);
}`;

const DENSITY = `#version 300 es
precision highp float;
uniform sampler2D sums;
uniform float usual;
out vec4 pixel;
void main() {
  vec4 sum = texelFetch(sums, ivec2(gl_FragCoord.xy), 0);
  float strength = log(1.0 + sum.a) / log(1.0 + 8.0 * usual);
  float opaque = sum.a < 0.01 ? 0.0 : clamp(0.12 + 0.88 * strength, 0.0, 1.0) * min(1.0, sum.a * 4.0);
  pixel = vec4(sum.rgb / max(sum.a, 1e-4) * opaque, opaque);
}`;

/** From so many points on, density is drawn. */
export const DENSE = 100_000;

/** Between two frames while one moves: from the one on fewer points are drawn, below the other more. */
const [SLOW_MS, FAST_MS] = [34, 20];
/** After so long the hand rests. */
export const STILL_MS = 250;

/** 0 … n-1 in an order that is the same every time. */
function shuffled(n: number): Uint32Array<ArrayBuffer> {
  const order = Uint32Array.from({ length: n }, (_, i) => i);
  let state = 1;
  for (let i = n - 1; i > 0; i--) {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0; // Numerical Recipes' generator
    const j = Math.floor((state / 2 ** 32) * (i + 1));
    [order[i], order[j]] = [order[j]!, order[i]!];
  }
  return order;
}

function linked(gl: WebGL2RenderingContext, vertex: string, fragment: string): WebGLProgram {
  const program = gl.createProgram();
  gl.attachShader(program, compile(gl, gl.VERTEX_SHADER, vertex));
  gl.attachShader(program, compile(gl, gl.FRAGMENT_SHADER, fragment));
  gl.linkProgram(program);
  return program;
}

function compile(gl: WebGL2RenderingContext, type: number, source: string): WebGLShader {
  const shader = gl.createShader(type);
  if (!shader) throw new Error("WebGL gives no shader");
  gl.shaderSource(shader, source);
  gl.compileShader(shader);
  if (!gl.getShaderParameter(shader, gl.COMPILE_STATUS) && !gl.isContextLost()) {
    throw new Error(gl.getShaderInfoLog(shader) ?? "the shader does not compile");
  }
  return shader;
}

export class Renderer {
  private readonly points: WebGLProgram;
  private readonly density: WebGLProgram | null;
  private readonly sums: WebGLTexture;
  private readonly target: WebGLFramebuffer;
  private readonly buffers = new Map<string, WebGLBuffer>();
  private count = 0;
  /** Places of the points in an order in which every beginning is a fair sample. */
  private order = new Uint32Array(0);
  /** Which part of the points is drawn while one moves, and when that was the last time. */
  private share = 1;
  private before = 0;
  /** Whether any point is chosen or found. */
  private stands = false;

  private constructor(
    private readonly gl: WebGL2RenderingContext,
    private readonly canvas: HTMLCanvasElement,
  ) {
    this.points = linked(gl, VERTEX, FRAGMENT);
    // Without textures that add up, all points are drawn one by one.
    this.density = gl.getExtension("EXT_color_buffer_float") && linked(gl, WHOLE, DENSITY);
    this.sums = gl.createTexture();
    this.target = gl.createFramebuffer();
    gl.enable(gl.BLEND);
  }

  /** Null where the browser has no WebGL2. */
  static on(canvas: HTMLCanvasElement): Renderer | null {
    const gl = canvas.getContext("webgl2", { antialias: false, alpha: true, premultipliedAlpha: true });
    return gl && new Renderer(gl, canvas);
  }

  private attribute(name: string, data: BufferSource, size: number, type: number): void {
    const { gl } = this;
    const at = gl.getAttribLocation(this.points, name);
    const buffer = this.buffers.get(name) ?? gl.createBuffer();
    this.buffers.set(name, buffer);
    gl.bindBuffer(gl.ARRAY_BUFFER, buffer);
    gl.bufferData(gl.ARRAY_BUFFER, data, gl.STATIC_DRAW);
    gl.enableVertexAttribArray(at);
    gl.vertexAttribPointer(at, size, type, false, 0, 0);
  }

  setPlaces(x: Float32Array, y: Float32Array): void {
    this.count = x.length;
    this.order = shuffled(this.count);
    const places = new Float32Array(x.length * 2);
    this.order.forEach((from, to) => {
      places[2 * to] = x[from]!;
      places[2 * to + 1] = y[from]!;
    });
    this.attribute("place", places, 2, this.gl.FLOAT);
  }

  setColours(codes: Uint8Array<ArrayBuffer>): void {
    this.attribute("colour", Uint8Array.from(this.order, (from) => codes[from]!), 1, this.gl.UNSIGNED_BYTE);
  }

  setMarks(marks: Uint8Array<ArrayBuffer>): void {
    this.stands = marks.some((mark) => mark > MARK.faded);
    this.attribute("mark", Uint8Array.from(this.order, (from) => marks[from]!), 1, this.gl.UNSIGNED_BYTE);
  }

  /** The part of the points that this machine draws fast enough to follow the hand. */
  private keepUp(): number {
    const now = performance.now();
    const passed = now - this.before;
    this.before = now;
    if (passed > SLOW_MS && passed < STILL_MS) this.share = Math.max(0.05, this.share * 0.7);
    else if (passed < FAST_MS) this.share = Math.min(1, this.share * 1.1);
    return this.share;
  }

  /** With `moves`, of many points so many as can be drawn in time; the caller draws all once it is still. */
  draw(
    camera: Camera,
    size: Size,
    colours: readonly (readonly number[])[],
    outline: readonly number[],
    moves: boolean,
  ): void {
    const { gl, canvas, points } = this;
    const ratio = devicePixelRatio;
    const [width, height] = [Math.round(size.width * ratio), Math.round(size.height * ratio)];
    if (canvas.width !== width || canvas.height !== height) {
      [canvas.width, canvas.height] = [width, height];
      this.resizeSums(width, height);
    }
    const scale = scaleOf(camera, size);
    // Larger as one zooms in, smaller the more there are, never less than a visible dot.
    const crowd = Math.max(0.5, Math.min(1.6, 60 / Math.sqrt(Math.max(1, this.count))));
    const dot = Math.min(18, Math.max(3, 5 * crowd * camera.zoom ** 0.35)) * ratio;
    gl.viewport(0, 0, width, height);
    gl.clearColor(0, 0, 0, 0);
    gl.clear(gl.COLOR_BUFFER_BIT);
    gl.useProgram(points);
    const place = (name: string): WebGLUniformLocation | null => gl.getUniformLocation(points, name);
    gl.uniform2f(place("centre"), camera.x, camera.y);
    gl.uniform2f(place("scale"), (2 * scale) / size.width, (2 * scale) / size.height);
    gl.uniform1f(place("size"), dot);
    gl.uniform3fv(place("colours"), colours.flat());
    gl.uniform3fv(place("outline"), outline);
    const dense = this.density !== null && this.count > DENSE;
    const drawn = dense && moves ? Math.ceil(this.count * this.keepUp()) : this.count;
    for (const pass of this.stands ? [0, 1] : [0]) {
      const adds = dense && pass === 0;
      gl.uniform1f(place("pass"), pass);
      gl.uniform1i(place("adds"), Number(adds));
      if (adds) {
        gl.bindFramebuffer(gl.FRAMEBUFFER, this.target);
        gl.clear(gl.COLOR_BUFFER_BIT);
      }
      gl.blendFunc(gl.ONE, adds ? gl.ONE : gl.ONE_MINUS_SRC_ALPHA);
      gl.drawArrays(gl.POINTS, 0, pass === 0 ? drawn : this.count);
      // Points that lie over one another, if all of them were spread over the whole map.
      if (adds) this.compose((drawn * dot ** 2) / (2 * scale * ratio) ** 2);
    }
  }

  private compose(usual: number): void {
    const { gl, density } = this;
    gl.bindFramebuffer(gl.FRAMEBUFFER, null);
    gl.useProgram(density);
    if (density) gl.uniform1f(gl.getUniformLocation(density, "usual"), usual);
    gl.blendFunc(gl.ONE, gl.ONE_MINUS_SRC_ALPHA);
    gl.drawArrays(gl.TRIANGLES, 0, 3);
    gl.useProgram(this.points);
  }

  private resizeSums(width: number, height: number): void {
    const { gl } = this;
    if (!this.density) return;
    gl.bindTexture(gl.TEXTURE_2D, this.sums);
    gl.texImage2D(gl.TEXTURE_2D, 0, gl.RGBA16F, width, height, 0, gl.RGBA, gl.HALF_FLOAT, null);
    for (const filter of [gl.TEXTURE_MIN_FILTER, gl.TEXTURE_MAG_FILTER]) {
      gl.texParameteri(gl.TEXTURE_2D, filter, gl.NEAREST);
    }
    gl.bindFramebuffer(gl.FRAMEBUFFER, this.target);
    gl.framebufferTexture2D(gl.FRAMEBUFFER, gl.COLOR_ATTACHMENT0, gl.TEXTURE_2D, this.sums, 0);
    gl.bindFramebuffer(gl.FRAMEBUFFER, null);
  }
}
