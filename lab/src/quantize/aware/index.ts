/** @file Quantization-aware training: fake quantization, LLM-QAT, and a key/value cache in few bits. */
export * from './distillation.ts';
export * from './fake-quantize.ts';
export * from './fake-quant-linear.ts';
export * from './llm-qat.ts';
export * from './packed-aware-linear.ts';
export { quantizationAware, type AwareBits, type QuantizationAwareOptions } from './quantization-aware.ts';
export * from './quantized-kv-cache.ts';
export * from './self-generated.ts';
