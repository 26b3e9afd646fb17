// Reads the packets of `lgnet stream --to ws://...`, JSON and binary, in a browser or Node. No dependencies.
// Format: docs/streaming.md.

const FINGERS = ["index", "middle", "ring", "little"];

/** OpenXR's joints in their order; WebXR's are all but the first. */
export const JOINTS = [
  "palm", "wrist", "thumb_metacarpal", "thumb_proximal", "thumb_distal", "thumb_tip",
  ...FINGERS.flatMap((f) => ["metacarpal", "proximal", "intermediate", "distal", "tip"].map((j) => `${f}_${j}`)),
];

/** Pairs of joint names that a bone lies between. */
export const BONES = [
  ["wrist", "thumb_metacarpal"], ["thumb_metacarpal", "thumb_proximal"],
  ["thumb_proximal", "thumb_distal"], ["thumb_distal", "thumb_tip"],
  ...FINGERS.flatMap((f) => [
    ["wrist", `${f}_metacarpal`], [`${f}_metacarpal`, `${f}_proximal`], [`${f}_proximal`, `${f}_intermediate`],
    [`${f}_intermediate`, `${f}_distal`], [`${f}_distal`, `${f}_tip`],
  ]),
];

/**
 * A packet from a message's data: a string (JSON) or an ArrayBuffer (binary).
 * Gives {sequence, frame, time, captured, space, image, camera, hands, events}; each hand is
 * {side, score, joints: {name: {position: [x, y, z], quaternion: [x, y, z, w], radius}}}.
 */
export function parsePacket(data) {
  return typeof data === "string" ? parseJson(data) : parseBinary(data);
}

function namesOf(count) {
  if (count !== 25 && count !== 26) throw new Error(`a hand of ${count} joints is not known`);
  return count === 26 ? JOINTS : JOINTS.slice(1);
}

function parseJson(text) {
  const packet = JSON.parse(text);
  if (packet.schema !== "lgnet-stream/1") throw new Error(`packets of ${packet.schema} are not known`);
  const hands = packet.hands.map((hand) => {
    const joints = {};
    namesOf(hand.joints.length).forEach((name, j) => {
      const row = hand.joints[j];
      joints[name] = { position: row.slice(0, 3), quaternion: row.slice(3, 7), radius: row[7] };
    });
    return { side: hand.side, score: hand.score, joints };
  });
  return { ...packet, hands };
}

function parseBinary(buffer) {
  const view = new DataView(buffer);
  const u8 = (at) => view.getUint8(at);
  const f32 = (at) => view.getFloat32(at, true);
  if (view.byteLength < 56 || u8(0) !== 0x4c || u8(1) !== 0x47 || u8(2) !== 0x4e) throw new Error("no packet of lgnet");
  if (u8(3) !== 1) throw new Error(`packets of version ${u8(3)} are not known`);
  const names = namesOf(u8(5));
  const packet = {
    space: ["camera", "openxr"][u8(4)],
    sequence: view.getUint32(8, true),
    frame: view.getUint32(12, true),
    time: view.getFloat64(16, true),
    captured: view.getFloat64(24, true),
    image: { width: view.getUint16(32, true), height: view.getUint16(34, true) },
    camera: { fx: f32(36), fy: f32(40), cx: f32(44), cy: f32(48), assumed: u8(52) === 1 },
    hands: [],
    events: [],
  };
  let at = 56;
  for (let h = 0; h < u8(6); h++) {
    const joints = {};
    names.forEach((name, j) => {
      const row = at + 8 + 22 * j;
      joints[name] = {
        position: [f32(row), f32(row + 4), f32(row + 8)],
        quaternion: [0, 1, 2, 3].map((k) => view.getInt16(row + 12 + 2 * k, true) / 32767),
        radius: view.getUint16(row + 20, true) * 1e-5,
      };
    });
    packet.hands.push({ side: ["right", "left"][u8(at)], score: f32(at + 4), joints });
    at += 8 + 22 * names.length;
  }
  for (let e = 0; e < u8(7); e++) {
    const length = u8(at + 6);
    packet.events.push({
      phase: ["begin", "hold", "end"][u8(at)],
      hand: ["right", "left"][u8(at + 1)],
      value: f32(at + 2),
      gesture: new TextDecoder().decode(new Uint8Array(buffer, at + 7, length)),
    });
    at += 7 + length;
  }
  return packet;
}

/** Where a point is seen in the picture: [u, v] in its pixels. */
export function project([x, y, z], packet) {
  const sign = packet.space === "openxr" ? -1 : 1;
  const { fx, fy, cx, cy } = packet.camera;
  return [(fx * x) / (sign * z) + cx, (fy * sign * y) / (sign * z) + cy];
}

/** Calls onPacket with every packet; joins again, a second after a loss, until the function that it gives is called. */
export function connect(address, onPacket, onState = () => {}) {
  let socket;
  let again;
  let over = false;
  const open = () => {
    socket = new WebSocket(address);
    socket.binaryType = "arraybuffer";
    socket.onopen = () => onState("connected");
    socket.onmessage = (message) => onPacket(parsePacket(message.data));
    socket.onclose = () => {
      onState("not connected");
      if (!over) again = setTimeout(open, 1000);
    };
  };
  open();
  return () => {
    over = true;
    clearTimeout(again);
    socket.close();
  };
}
