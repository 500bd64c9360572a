/**
 * @file The numbers by which JavaScript (pool.ts) and the kernels (kernels.as.ts) name an operation to each other.
 * Both sides compile this very file.
 */
export const MULTIPLY = 0;
export const ADD_PARTS = 1;
export const BINARY = 2;
export const UNARY = 3;
export const SOFTMAX = 4;
export const REDUCE_ROWS = 5;
export const SUM_COLUMNS = 6;
export const REARRANGE = 7;
export const GATHER_ROWS = 8;
export const ADD_SEGMENTS = 9;
export const MULTIPLY_ROWS = 10;
export const FINISH = 11;
export const NORMALIZE = 12;
export const NORMALIZE_GRADIENT = 13;
export const CROSS_ENTROPY = 14;
export const CROSS_ENTROPY_GRADIENT = 15;
export const SUM_SQUARES = 16;
export const ADAMW = 17;
export const ATTEND = 18;
export const ATTEND_GRADIENT = 19;
export const ACTIVATE = 20;
export const TURN = 21;
export const APPEND = 22;
export const PREPARE_QUANTIZED = 25;
export const MULTIPLY_QUANTIZED_ROWS = 26;
export const MULTIPLY_QUANTIZED = 27;
export const DEQUANTIZE = 28;
export const ATTEND_BIAS_GRADIENT = 30;
export const ATTEND_FEW = 31;
export const JOIN_PARTS = 32;
export const READ_REPEATEDLY = 35;
export const MULTIPLY_ADD_REPEATEDLY = 36;
export const ATTEND_PAGED = 60;
export const SCATTER_ROWS = 61;

/** What becomes of a matrix product once its sums are complete. */
export const AS_IT_IS = 0;
export const ADD_BIAS = 1;
export const GELU = 2;
export const TIMES = 3;

/** What ACTIVATE computes. */
export const GELU_VALUES = 0;
export const GELU_GRADIENT = 1;
export const SWIGLU_VALUES = 2;
export const SWIGLU_GRADIENT = 3;

/** What BINARY computes. */
export const ADD = 0;
export const SUBTRACT = 1;
export const MULTIPLY_ELEMENTS = 2;
export const DIVIDE = 3;
export const SQUARED_DIFFERENCE = 4;

/** What UNARY computes. */
export const EXP = 0;
export const TANH = 1;
export const SQRT = 2;
export const RSQRT = 3;
export const SQUARE = 4;
export const NEGATE = 5;
export const SIGMOID = 6;

/** What REDUCE_ROWS computes of each row. */
export const ROW_SUM = 0;
export const ROW_MEAN = 1;
export const ROW_MAX = 2;
