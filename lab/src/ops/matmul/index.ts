/** @file Matrix multiplication. */
import './wasm.ts';

export { planProduct, type Plan, type ProductShape } from './plan.ts';
