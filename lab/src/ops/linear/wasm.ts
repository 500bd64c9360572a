/**
 * @file The linear layer on wasm: bias and GELU are done to each block of the product while it is in the cache, and the
 * gradient of the bias is summed in passing, from the rows that the gradient of the weight packs anyway.
 */
import { multiply, seen } from '../matmul/product.ts';
import { floatsOf, makeFloats, offsetOf, sizeOf, wasmKernel, type Info, type WasmContext } from '../wasm/index.ts';

const offsetIfAny = ({ backend }: WasmContext, info: Info | undefined): number | undefined => info && offsetOf(backend, info);

/**
 * x [..., I], weight [O, I], bias [O] or none → [y] with y = x Wᵀ + b [..., O];
 * `gelu` bends it, and `derivative` then gives GELU's derivative too, [..., O].
 */
wasmKernel('lab.linear', (context, { x, weight, bias }, { gelu, derivative }) => {
  const { backend } = context;
  const [outputs, inputs] = weight!.shape as [number, number];
  const shape = [...x!.shape.slice(0, -1), outputs];
  const y = makeFloats(backend, shape);
  const slope = derivative === true ? makeFloats(backend, shape) : undefined;
  if (sizeOf(y.shape) > 0) {
    multiply(context, {
      batch: 1,
      m: sizeOf(shape) / outputs,
      n: outputs,
      k: inputs,
      a: seen(offsetOf(backend, x!), inputs, false),
      b: seen(offsetOf(backend, weight!), inputs, true),
      c: offsetOf(backend, y),
      finish: { bias: offsetIfAny(context, bias), gelu: gelu === true, derivative: offsetIfAny(context, slope) },
    });
  }
  return slope ? [y, slope] : [y];
});

/**
 * x [..., I], weight [O, I], dy [..., O], factor [..., I] or none → [dx, dW], and db if `bias`:
 * dx = dy W (times the factor, the derivative of what bent x), dW = dyᵀ x, db = Σ dy.
 */
wasmKernel('lab.linearGradient', (context, { x, weight, dy, factor }, { bias }) => {
  const { backend } = context;
  const [outputs, inputs] = weight!.shape as [number, number];
  const rows = sizeOf(x!.shape) / inputs;
  const dx = makeFloats(backend, x!.shape);
  const dWeight = makeFloats(backend, [outputs, inputs]);
  const gradients = bias === true ? [dx, dWeight, makeFloats(backend, [outputs])] : [dx, dWeight];
  if (rows === 0) {
    for (const gradient of gradients) floatsOf(backend, gradient).fill(0);
    return gradients;
  }
  multiply(context, {
    batch: 1,
    m: rows,
    n: inputs,
    k: outputs,
    a: seen(offsetOf(backend, dy!), outputs, false),
    b: seen(offsetOf(backend, weight!), inputs, false),
    c: offsetOf(backend, dx),
    finish: { factor: offsetIfAny(context, factor) },
  });
  multiply(context, {
    batch: 1,
    m: outputs,
    n: inputs,
    k: rows,
    a: seen(offsetOf(backend, dy!), outputs, true),
    b: seen(offsetOf(backend, x!), inputs, false),
    c: offsetOf(backend, dWeight),
    rowSums: offsetIfAny(context, gradients[2]),
  });
  return gradients;
});
