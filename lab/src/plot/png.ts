/**
 * @file A grid of colours as a PNG with a palette (PNG specification, third edition), so that a heatmap of ten thousand cells
 * is one small picture inside its SVG and not ten thousand rectangles.
 */
import { crc32, deflateSync } from 'node:zlib';

/**
 * @param cells row by row, an index into `colors` for each
 * @param colors at most 256, as `#rrggbb`
 * @param scale pixels a cell, so that no viewer has cause to blur it
 */
export function palettePng(cells: readonly (readonly number[])[], colors: readonly string[], scale: number): Buffer {
  const rows = cells.flatMap((row) => {
    const line = Buffer.alloc(1 + row.length * scale); // the first byte says: not filtered
    row.forEach((color, i) => line.fill(color, 1 + i * scale, 1 + (i + 1) * scale));
    return new Array<Buffer>(scale).fill(line);
  });
  const header = Buffer.alloc(13);
  header.writeUInt32BE((cells[0]?.length ?? 0) * scale, 0);
  header.writeUInt32BE(cells.length * scale, 4);
  header.set([8, 3, 0, 0, 0], 8); // eight bits an index, palette, deflate, no filter, not interlaced
  const paletteBytes = Buffer.from(colors.map((color) => color.slice(1)).join(''), 'hex');
  return Buffer.concat([
    Buffer.from('\x89PNG\r\n\x1a\n', 'latin1'),
    chunk('IHDR', header),
    chunk('PLTE', paletteBytes),
    chunk('IDAT', deflateSync(Buffer.concat(rows), { level: 9 })),
    chunk('IEND', Buffer.alloc(0)),
  ]);
}

function chunk(type: string, content: Buffer): Buffer {
  const body = Buffer.concat([Buffer.from(type, 'latin1'), content]);
  const framed = Buffer.alloc(body.length + 8);
  framed.writeUInt32BE(content.length, 0);
  framed.set(body, 4);
  framed.writeUInt32BE(crc32(body), body.length + 4);
  return framed;
}
