// A zip file as a Blob that refers to the files in it, so that it takes no memory however large it is (nothing is compressed: photos are)

const TABLE = Uint32Array.from({ length: 256 }, (_, i) => {
  for (let bit = 0; bit < 8; bit++) i = i & 1 ? i >>> 1 ^ 0xedb88320 : i >>> 1;
  return i;
});

async function crc32(blob) {
  let crc = ~0;
  const reader = blob.stream().getReader();
  for (let part; !(part = await reader.read()).done;) for (const byte of part.value) crc = TABLE[(crc ^ byte) & 255] ^ crc >>> 8;
  return ~crc >>> 0;
}

// A record of numbers, each [bytes, value]
function record(...fields) {
  const view = new DataView(new ArrayBuffer(fields.reduce((sum, [size]) => sum + size, 0)));
  let at = 0;
  for (const [size, value] of fields) {
    if (size === 8) view.setBigUint64(at, BigInt(value), true);
    else if (size === 4) view.setUint32(at, value, true);
    else view.setUint16(at, value, true);
    at += size;
  }
  return new Uint8Array(view.buffer);
}

const MOST = 0xffffffff; // of a number in 4 bytes; larger ones need the fields of zip64

// `entries`: an async or plain iterable of { name, blob, time }; `progress` is called with the number of files done
export async function zip(entries, progress = () => {}) {
  const parts = [], central = [], utf8 = new TextEncoder();
  let at = 0, n = 0;
  for await (const { name, blob, time = Date.now() } of entries) {
    const bytes = utf8.encode(name), crc = await crc32(blob), when = new Date(time), year = Math.max(when.getFullYear(), 1980);
    const stamp = [[2, when.getHours() << 11 | when.getMinutes() << 5 | when.getSeconds() >> 1], [2, (year - 1980) << 9 | when.getMonth() + 1 << 5 | when.getDate()]];
    const common = [[2, 45], [2, 0x800], [2, 0], ...stamp, [4, crc], [4, blob.size], [4, blob.size], [2, bytes.length]]; // 0x800: names in UTF-8
    parts.push(record([4, 0x04034b50], ...common, [2, 0]), bytes, blob);
    const far = at >= MOST;
    central.push(record([4, 0x02014b50], [2, 45], ...common, [2, far ? 12 : 0], [2, 0], [2, 0], [2, 0], [4, 0], [4, far ? MOST : at]), bytes);
    if (far) central.push(record([2, 1], [2, 8], [8, at]));
    at += 30 + bytes.length + blob.size;
    progress(++n);
  }
  const size = central.reduce((sum, o) => sum + o.length, 0);
  const ends = [];
  if (n > 0xfffe || at + size > MOST) {
    ends.push(record([4, 0x06064b50], [8, 44], [2, 45], [2, 45], [4, 0], [4, 0], [8, n], [8, n], [8, size], [8, at]),
              record([4, 0x07064b50], [4, 0], [8, at + size], [4, 1]));
  }
  const few = Math.min(n, 0xffff);
  ends.push(record([4, 0x06054b50], [2, 0], [2, 0], [2, few], [2, few], [4, Math.min(size, MOST)], [4, Math.min(at, MOST)], [2, 0]));
  return new Blob([...parts, ...central, ...ends], { type: "application/zip" });
}
