"use strict";

/* What is heard: one source and one gain a track, all started at one time, so that a switch moves gains and nothing
   else. A mix is a list of gains, one a track. Nothing here knows the page. */

const FADE = 0.008; // seconds, of every switch
const LEAD = 0.02; // seconds ahead of the clock, so that no ramp begins in audio that is already made
const SHORTEST_LOOP = 0.1;

/** Base64 as an ArrayBuffer. */
function bytesOf(base64) {
  const text = atob(base64);
  const bytes = new Uint8Array(text.length);
  for (let i = 0; i < text.length; i++) bytes[i] = text.charCodeAt(i);
  return bytes.buffer;
}

/** AudioBuffers at the rate that they are stored at, whatever the sound card's. */
function decodeAll(sounds, rate) {
  const decoder = new OfflineAudioContext(1, 1, rate);
  return Promise.all(sounds.map((sound) => decoder.decodeAudioData(bytesOf(sound))));
}

function amplitude(db) {
  return 10 ** (db / 20);
}

/**
 * The mix for what is to be heard.
 * heard: number of a track, 0 the input; levels: gain that matches each track; ownGains: gain that each render gave
 * the input, which makes what they share cancel; difference: "" for none, "input" or "chosen" for what it is to.
 */
function mixOf(heard, levels, ownGains, difference = "", boost = 1) {
  const mix = levels.map(() => 0);
  if (!difference) {
    mix[heard] = levels[heard];
  } else if (difference === "chosen" && heard > 0) {
    mix[1] += boost * levels[1];
    mix[heard] -= boost * levels[heard];
  } else {
    const version = Math.max(heard, 1);
    mix[version] = boost;
    mix[0] = -boost * ownGains[version];
  }
  return mix;
}

/** A mix with only a share of what was made: of the rest of a version the input takes the place. */
function mixOfAmount(mix, version, ownGains, amount) {
  const less = [...mix];
  less[version] = amount * mix[version];
  less[0] += (1 - amount) * mix[version] * ownGains[version];
  return less;
}

const TILT_TAPS = 2048;

/** A linear-phase filter that tilts by dB an octave above an edge, its middle at half of its length. */
function tiltFilter(rate, edge, tilt) {
  const [re, im] = [new Float64Array(TILT_TAPS), new Float64Array(TILT_TAPS)];
  for (let k = 0; k < TILT_TAPS; k++) {
    const hz = (Math.min(k, TILT_TAPS - k) * rate) / TILT_TAPS;
    re[k] = hz > edge ? amplitude(tilt * Math.log2(hz / edge)) : 1;
  }
  fft(re, im);
  return Float32Array.from(re, (_, i) => {
    const hann = 0.5 - 0.5 * Math.cos((2 * Math.PI * i) / TILT_TAPS);
    return (hann * re[(i + TILT_TAPS / 2) % TILT_TAPS]) / TILT_TAPS;
  });
}

/** A version whose difference to the input, at the gain that it has there, is tilted. */
async function tilted(input, version, gain, edge, tilt) {
  const { numberOfChannels, length, sampleRate } = version;
  const ctx = new OfflineAudioContext(numberOfChannels, length + TILT_TAPS / 2, sampleRate);
  const impulse = new AudioBuffer({ length: TILT_TAPS, numberOfChannels: 1, sampleRate });
  impulse.copyToChannel(tiltFilter(sampleRate, edge, tilt), 0);
  const convolver = new ConvolverNode(ctx, { buffer: impulse, disableNormalization: true });
  convolver.connect(ctx.destination);
  for (const [buffer, factor] of [[version, 1], [input, -gain]]) {
    const source = new AudioBufferSourceNode(ctx, { buffer });
    source.connect(new GainNode(ctx, { gain: factor })).connect(convolver);
    source.start();
  }
  const made = await ctx.startRendering();
  const result = new AudioBuffer({ length, numberOfChannels, sampleRate });
  for (let channel = 0; channel < numberOfChannels; channel++) {
    const [added, own] = [made.getChannelData(channel), input.getChannelData(channel)];
    result.copyToChannel(Float32Array.from({ length }, (_, n) => gain * own[n] + added[n + TILT_TAPS / 2]), channel);
  }
  return result;
}

/** Sum of the buffers by a mix, a Float32Array for each channel. */
function mixDown(buffers, mix) {
  return Array.from({ length: buffers[0].numberOfChannels }, (_, channel) => {
    const sum = new Float32Array(buffers[0].length);
    buffers.forEach((buffer, i) => {
      if (!mix[i]) return;
      const samples = buffer.getChannelData(channel);
      for (let n = 0; n < sum.length; n++) sum[n] += mix[i] * samples[n];
    });
    return sum;
  });
}

function peakOf(channels) {
  let peak = 0;
  for (const samples of channels) for (const sample of samples) peak = Math.max(peak, Math.abs(sample));
  return peak;
}

function ramp(param, from, to, at) {
  param.setValueAtTime(from, at);
  param.linearRampToValueAtTime(to, at + FADE);
}

/** Sources, gains (closed) and fades, connected and not yet started. */
function buildGraph(ctx, buffers) {
  const edge = new GainNode(ctx, { gain: 0 });
  const seam = new GainNode(ctx);
  seam.connect(edge).connect(ctx.destination);
  const voices = buffers.map((buffer) => {
    const source = new AudioBufferSourceNode(ctx, { buffer });
    const gain = new GainNode(ctx, { gain: 0 });
    source.connect(gain).connect(seam);
    return { source, gain: gain.gain };
  });
  return { voices, seam: seam.gain, edge: edge.gain, length: buffers[0].duration, free: 0, run: null, nextSeam: Infinity };
}

/** Start all sources at one time and place; loop is [start, end] in seconds, or null; what begins after it plays on. */
function startGraph(graph, mix, at, place, wanted = null) {
  const loop = wanted && place < wanted[1] ? wanted : null;
  graph.voices.forEach(({ source, gain }, i) => {
    gain.setValueAtTime(mix[i], at);
    if (loop) [source.loop, source.loopStart, source.loopEnd] = [true, ...loop];
    source.start(at, place);
  });
  ramp(graph.edge, 0, 1, at);
  graph.run = { at, place, loop, length: graph.length };
  graph.nextSeam = at + (loop ? loop[1] : graph.length) - place;
  graph.free = at + FADE;
}

/** Cross-fade from one mix to another, after the fade before it; gives the time at which it begins. */
function scheduleSwitch(graph, from, to, at) {
  const begin = Math.max(at, graph.free);
  graph.voices.forEach(({ gain }, i) => {
    if (from[i] !== to[i]) ramp(gain, from[i], to[i], begin);
  });
  graph.free = begin + FADE;
  return begin;
}

/** Fade out before, and in after, each jump of the loop up to a time; and out before the end. */
function fadeSeams(graph, until) {
  const { loop } = graph.run;
  while (graph.nextSeam < until) {
    const at = graph.nextSeam;
    graph.seam.setValueAtTime(1, Math.max(at - FADE / 2, graph.run.at));
    graph.seam.linearRampToValueAtTime(0, at);
    if (loop) graph.seam.linearRampToValueAtTime(1, at + FADE / 2);
    graph.nextSeam = loop ? at + loop[1] - loop[0] : Infinity;
  }
}

function stopGraph(graph, at) {
  ramp(graph.edge, 1, 0, at);
  for (const { source } of graph.voices) source.stop(at + 2 * FADE);
}

/** Where a run of the graph stands at a time of the context. */
function placeAt(run, time) {
  const place = run.place + Math.max(0, time - run.at);
  if (!run.loop) return Math.min(place, run.length);
  const [start, end] = run.loop;
  return place < end ? place : start + ((place - end) % (end - start));
}

/** Plays a graph at a time: a switch keeps it, everything else fades to a new one. */
class Player {
  constructor(buffers, rate, onStop) {
    Object.assign(this, { buffers, rate, onStop, graph: null, ctx: null, loop: null, stopped: 0, before: 0 });
    this.length = buffers[0].duration;
    this.mix = buffers.map(() => 0);
  }

  get playing() {
    return this.graph !== null;
  }

  get sounding() {
    return this.playing && this.ctx.state === "running";
  }

  /** Seconds that have sounded so far, wherever. */
  get sounded() {
    return this.before + (this.playing ? Math.max(0, this.ctx.currentTime - this.graph.run.at) : 0);
  }

  /** Where the listener is: what the sound card still holds back is not heard yet. */
  get place() {
    return this.playing ? placeAt(this.graph.run, this.ctx.currentTime - (this.ctx.outputLatency || 0)) : this.stopped;
  }

  get contextRate() {
    return this.ctx ? this.ctx.sampleRate : null;
  }

  async play() {
    if (this.playing) return;
    this.ctx ??= openContext(this.rate);
    const resumed = this.ctx.resume();
    this.begin(this.ahead(), this.stopped);
    await resumed;
  }

  pause() {
    if (!this.playing) return;
    const at = this.ahead();
    this.stopped = placeAt(this.graph.run, at);
    this.end(at);
    setTimeout(() => this.playing || this.ctx.suspend(), 200);
  }

  seek(place) {
    const to = Math.min(Math.max(place, 0), this.length - 1 / this.rate);
    this.jump(() => to);
  }

  setLoop(loop) {
    this.loop = loop && [this.onSample(loop[0]), this.onSample(loop[1])];
    this.jump((place) => place);
  }

  /** Play other buffers of the same length, from where it stands. */
  exchange(buffers) {
    this.buffers = buffers;
    this.jump((place) => place);
  }

  hear(mix) {
    const from = this.mix;
    this.mix = mix;
    if (this.playing) scheduleSwitch(this.graph, from, mix, this.ahead());
  }

  /** Go on from another place, with no gap. */
  jump(where) {
    if (!this.playing) {
      this.stopped = this.onSample(where(this.stopped));
      return;
    }
    const at = this.ahead();
    const place = where(placeAt(this.graph.run, at));
    this.end(at);
    this.begin(at, place);
  }

  begin(at, place) {
    const graph = buildGraph(this.ctx, this.buffers);
    startGraph(graph, this.mix, at, this.onSample(place), this.loop);
    graph.voices[0].source.onended = () => this.graph === graph && this.finish();
    graph.timer = setInterval(() => fadeSeams(graph, this.ctx.currentTime + 3), 500);
    fadeSeams(graph, at + 3);
    this.graph = graph;
  }

  end(at) {
    stopGraph(this.graph, at);
    this.forget();
  }

  finish() {
    this.forget();
    this.stopped = 0;
    this.onStop();
  }

  forget() {
    clearInterval(this.graph.timer);
    this.before = this.sounded;
    this.graph = null;
  }

  /** The next time that can be scheduled; on a sample, or the browser interpolates. */
  ahead() {
    const soon = this.ctx.currentTime + LEAD;
    const free = this.graph ? Math.max(soon, this.graph.run.at + FADE) : soon;
    return Math.ceil(free * this.ctx.sampleRate - 1e-6) / this.ctx.sampleRate;
  }

  onSample(place) {
    return Math.round(place * this.rate) / this.rate;
  }
}

/** A context at the rate of the tracks, so that nothing is resampled here; at the system's where that is refused. */
function openContext(rate) {
  try {
    return new AudioContext({ sampleRate: rate });
  } catch {
    return new AudioContext();
  }
}

/* Blind ABX. */

/** Probability of at least so many right answers of n by guessing. */
function chanceOf(right, n) {
  let ways = 1; // n over i, from i = n down
  let sum = 0;
  for (let i = n; i >= right; i--) {
    sum += ways * 2 ** -n;
    ways *= i / (n - i + 1);
  }
  return Math.min(1, sum);
}

/** A fair coin. */
function toss() {
  return crypto.getRandomValues(new Uint8Array(1))[0] & 1;
}

/* Spectrograms of differences, on the scale of those that came with the page. */

/** In-place complex FFT; the length is a power of two. */
function fft(re, im) {
  const n = re.length;
  for (let i = 1, j = 0; i < n; i++) {
    let bit = n >> 1;
    for (; j & bit; bit >>= 1) j ^= bit;
    j ^= bit;
    if (i < j) [re[i], re[j], im[i], im[j]] = [re[j], re[i], im[j], im[i]];
  }
  for (let size = 2; size <= n; size *= 2) {
    const half = size / 2;
    for (let k = 0; k < half; k++) {
      const wr = Math.cos((-2 * Math.PI * k) / size);
      const wi = Math.sin((-2 * Math.PI * k) / size);
      for (let i = k; i < n; i += size) {
        const j = i + half;
        const xr = re[j] * wr - im[j] * wi;
        const xi = re[j] * wi + im[j] * wr;
        re[j] = re[i] - xr;
        im[j] = im[i] - xi;
        re[i] += xr;
        im[i] += xi;
      }
    }
  }
}

/** Level in dB by column and bin (DC left out) of one or two channels: mean power, a full-scale sine is 0. */
function levelsOf(channels, bins, columns) {
  const size = 2 * bins;
  const length = channels[0].length;
  const hann = Float64Array.from({ length: size }, (_, i) => 0.5 - 0.5 * Math.cos((2 * Math.PI * i) / size));
  const [re, im] = [new Float64Array(size), new Float64Array(size)];
  const hop = Math.min(size / 4, Math.max(64, Math.floor(length / columns)));
  const loudest = Array.from({ length: columns }, () => new Float64Array(bins));
  for (let centre = 0; centre < length; centre += hop) {
    const first = Math.max(0, Math.min(centre - bins, length - size));
    for (let i = 0; i < size; i++) {
      re[i] = hann[i] * (channels[0][first + i] ?? 0);
      im[i] = channels.length > 1 ? hann[i] * (channels[1][first + i] ?? 0) : 0;
    }
    fft(re, im);
    const column = loudest[Math.floor((centre * columns) / length)];
    for (let k = 1; k <= bins; k++) {
      // two real signals in one transform: their powers are in bins k and size - k
      const power = (re[k] ** 2 + im[k] ** 2 + re[size - k] ** 2 + im[size - k] ** 2) / 2 / channels.length;
      column[k - 1] = Math.max(column[k - 1], power / (bins / 2) ** 2);
    }
  }
  return loudest.map((column) => column.map((power) => 10 * Math.log10(Math.max(power, 1e-30))));
}

/** Columns of levels on another frequency axis, lowest row first: see by_row in excerpt.py. */
function byRow(columns, edges, binHz) {
  const last = columns[0].length - 1;
  const at = edges.map((hz) => Math.min(Math.max(hz / binHz - 1, 0), last));
  return at.slice(1).map((high, row) => {
    const middle = (at[row] + high) / 2;
    const under = Math.floor(middle);
    const over = Math.min(under + 1, last);
    return Float32Array.from(columns, (column) => {
      let most = column[under] + (middle - under) * (column[over] - column[under]);
      for (let i = Math.ceil(at[row]); i < Math.ceil(high); i++) most = Math.max(most, column[i]);
      return most;
    });
  });
}
