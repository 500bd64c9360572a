/**
 * @file The module that every thread instantiates on the shared heap: the parallel loop and all kernels.
 * It has no data of its own in memory (the heap belongs to TensorFlow.js); kernels.mjs checks that.
 */
import { activate } from '../activation/bend.as';
import { adamw, sumSquares } from '../adamw/update.as';
import { attendGradient } from '../attention/backward.as';
import { attendBiasGradient } from '../attention/bias-gradient.as';
import { attendFew, joinParts } from '../attention/decode.as';
import { attend } from '../attention/forward.as';
import { scoreSpace, useScoreSpace } from '../attention/tiles.as';
import { crossEntropy, crossEntropyGradient } from '../cross-entropy/rows.as';
import { append } from '../kv-append/append.as';
import { finish } from '../matmul/finish.as';
import { addParts, multiply, usePackingSpace, packingSpace } from '../matmul/gemm.as';
import { multiplyRows } from '../matmul/vector.as';
import { normalize, normalizeGradient } from '../norm/rows.as';
import { attendPaged, scatterRows } from '../paged-attention/paged.as';
import { multiplyAddRepeatedly, readRepeatedly } from '../probe/loops.as';
import { multiplyQuantized } from '../quantized-matmul/blocks.as';
import { dequantize } from '../quantized-matmul/decode.as';
import { multiplyQuantizedRows, prepareQuantized } from '../quantized-matmul/rows.as';
import { turn } from '../rotary/turn.as';
import { binary, unary } from './elementwise.as';
import { addSegments, gatherRows, rearrange } from './layout.as';
import {
  ATTEND_PAGED, SCATTER_ROWS,
  ACTIVATE, ADAMW, ADD_PARTS, ADD_SEGMENTS, APPEND, ATTEND, ATTEND_BIAS_GRADIENT, ATTEND_FEW, ATTEND_GRADIENT, BINARY,
  CROSS_ENTROPY, CROSS_ENTROPY_GRADIENT, DEQUANTIZE, FINISH, GATHER_ROWS, JOIN_PARTS, MULTIPLY, MULTIPLY_ADD_REPEATEDLY,
  MULTIPLY_QUANTIZED, MULTIPLY_QUANTIZED_ROWS, MULTIPLY_ROWS, NORMALIZE, NORMALIZE_GRADIENT, PREPARE_QUANTIZED,
  READ_REPEATEDLY, REARRANGE, REDUCE_ROWS, SOFTMAX, SUM_COLUMNS, SUM_SQUARES, TURN, UNARY,
} from './operations';
import { useControlBlock } from './parallel.as';
import { reduceRows, softmax, sumColumns } from './rows.as';
import { CONSTANT_BYTES, useConstants } from './vectors.as';

export { submit, work } from './parallel.as';
// The tiles are exported lest the compiler inline them, which would cost half their speed.
export { COLUMNS, multiplyAddTurns, ROWS, tileAdd, tileSet } from '../matmul/tile.as';

/** Bytes of working space that each thread needs. */
export function workspace(): i32 { return CONSTANT_BYTES + scoreSpace() + packingSpace(); }

/** Called once in every thread. */
export function initialize(controlBlock: usize, workspaceStart: usize): void {
  useControlBlock(controlBlock);
  useConstants(workspaceStart);
  useScoreSpace(workspaceStart + <usize>CONSTANT_BYTES);
  usePackingSpace(workspaceStart + <usize>(CONSTANT_BYTES + scoreSpace()));
}

/** One chunk of one operation. */
export function run(operation: i32, chunk: i32): void {
  switch (operation) {
    case MULTIPLY: multiply(chunk); break;
    case MULTIPLY_ROWS: multiplyRows(chunk); break;
    case FINISH: finish(chunk); break;
    case NORMALIZE: normalize(chunk); break;
    case NORMALIZE_GRADIENT: normalizeGradient(chunk); break;
    case ATTEND: attend(chunk); break;
    case ATTEND_GRADIENT: attendGradient(chunk); break;
    case ATTEND_BIAS_GRADIENT: attendBiasGradient(chunk); break;
    case ATTEND_FEW: attendFew(chunk); break;
    case JOIN_PARTS: joinParts(chunk); break;
    case CROSS_ENTROPY: crossEntropy(chunk); break;
    case CROSS_ENTROPY_GRADIENT: crossEntropyGradient(chunk); break;
    case SUM_SQUARES: sumSquares(chunk); break;
    case ADAMW: adamw(chunk); break;
    case PREPARE_QUANTIZED: prepareQuantized(chunk); break;
    case MULTIPLY_QUANTIZED_ROWS: multiplyQuantizedRows(chunk); break;
    case MULTIPLY_QUANTIZED: multiplyQuantized(chunk); break;
    case DEQUANTIZE: dequantize(chunk); break;
    case ACTIVATE: activate(chunk); break;
    case TURN: turn(chunk); break;
    case APPEND: append(chunk); break;
    case ADD_PARTS: addParts(chunk); break;
    case BINARY: binary(chunk); break;
    case UNARY: unary(chunk); break;
    case SOFTMAX: softmax(chunk); break;
    case REDUCE_ROWS: reduceRows(chunk); break;
    case SUM_COLUMNS: sumColumns(chunk); break;
    case REARRANGE: rearrange(chunk); break;
    case GATHER_ROWS: gatherRows(chunk); break;
    case ADD_SEGMENTS: addSegments(chunk); break;
    case ATTEND_PAGED: attendPaged(chunk); break;
    case SCATTER_ROWS: scatterRows(chunk); break;
    case READ_REPEATEDLY: readRepeatedly(chunk); break;
    case MULTIPLY_ADD_REPEATEDLY: multiplyAddRepeatedly(chunk); break;
  }
}
