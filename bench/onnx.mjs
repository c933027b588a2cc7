/** Writes ONNX models (protocol buffers) of `MatMulNBits` nodes, and nothing else: https://onnx.ai, onnx.proto. */

const FLOAT = 1;
const UINT8 = 2;
const INT_ATTRIBUTE = 2;

/**
 * A model of `copies` nodes y<i> = x · W<i>, each with random weights of its own: `rows` outputs × `cols` inputs, `bits`
 * bits in blocks of `block`. `accuracyLevel` 4 lets the activations be int8.
 */
export function matMulNBitsModel({ rows, cols, bits, block, copies, accuracyLevel }) {
  const blocks = Math.ceil(cols / block);
  const weights = randomBytes((rows * blocks * block * bits) / 8);
  const scales = new Uint8Array(new Float32Array(rows * blocks).fill(0.01).buffer);
  const nodes = Array.from({ length: copies }, (_, i) =>
    field(
      1,
      concat([
        ...["x", `w${i}`, `s${i}`].map((name) => field(1, name)),
        field(2, `y${i}`),
        field(4, "MatMulNBits"),
        ...Object.entries({ K: cols, N: rows, bits, block_size: block, accuracy_level: accuracyLevel }).map(
          ([name, value]) => field(5, concat([field(1, name), number(3, value), number(20, INT_ATTRIBUTE)])),
        ),
        field(7, "com.microsoft"),
      ]),
    ),
  );
  const tensors = Array.from({ length: copies }, (_, i) => [
    field(5, tensor(`w${i}`, UINT8, [rows, blocks, (block * bits) / 8], weights)),
    field(5, tensor(`s${i}`, FLOAT, [rows * blocks], scales)),
  ]);
  const outputs = Array.from({ length: copies }, (_, i) => field(12, valueInfo(`y${i}`, rows)));
  const graph = [...nodes, field(2, "projections"), ...tensors.flat(), field(11, valueInfo("x", cols))];
  return concat([
    number(1, 8),
    field(7, concat([...graph, ...outputs])),
    field(8, concat([field(1, ""), number(2, 17)])),
    field(8, concat([field(1, "com.microsoft"), number(2, 1)])),
  ]);
}

function tensor(name, type, dims, raw) {
  return concat([...dims.map((dim) => number(1, dim)), number(2, type), field(8, name), field(9, raw)]);
}

/** A matrix of f32 with any number of rows. */
function valueInfo(name, cols) {
  const shape = concat([field(1, field(2, "tokens")), field(1, number(1, cols))]);
  return concat([field(1, name), field(2, field(1, concat([number(1, FLOAT), field(2, shape)])))]);
}

function randomBytes(length) {
  const bytes = new Uint8Array(length);
  const block = Uint8Array.from({ length: 2 ** 20 }, () => Math.random() * 256);
  for (let at = 0; at < length; at += block.length) bytes.set(block.subarray(0, length - at), at);
  return bytes;
}

/** A string, bytes or a message. */
function field(id, value) {
  const bytes = typeof value === "string" ? new TextEncoder().encode(value) : value;
  return concat([varint(id * 8 + 2), varint(bytes.length), bytes]);
}

function number(id, value) {
  return concat([varint(id * 8), varint(value)]);
}

function varint(value) {
  const bytes = [];
  let rest = value;
  for (; rest >= 128; rest = Math.floor(rest / 128)) bytes.push((rest % 128) + 128);
  return Uint8Array.from([...bytes, rest]);
}

function concat(parts) {
  const bytes = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    bytes.set(part, at);
    at += part.length;
  }
  return bytes;
}
