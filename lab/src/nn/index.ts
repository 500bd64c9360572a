/** @file Modules: named parameters in a tree, and the layers that a Transformer is made of. */
export * from './dropout.ts';
export * from './embedding.ts';
export * from './linear.ts';
export * from './mlp.ts';
export * from './module.ts';
export * from './norms.ts';
export { normalParameter, parameter, withoutInitialization, type ParameterOptions, type Randomness } from './parameter.ts';
export { matchesPath } from './path.ts';
export { checkpoint } from './recompute.ts';
