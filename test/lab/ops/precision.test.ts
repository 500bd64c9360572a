/** @file The precision of matrix products holds inside, and only inside, what asked for it. */
import { matmulPrecision, withMatmulPrecision } from 'lab';
import { expect, it } from 'vitest';

it('is float32 unless told', () => {
  expect(matmulPrecision()).toBe('float32');
});

it('holds inside, can be changed back inside, and gives back what f gives', () => {
  const seen = withMatmulPrecision('mixed', () => [
    matmulPrecision(),
    withMatmulPrecision('float32', () => matmulPrecision()),
    matmulPrecision(),
  ]);
  expect(seen).toEqual(['mixed', 'float32', 'mixed']);
  expect(matmulPrecision()).toBe('float32');
});

it('is as before when f throws', () => {
  const broken = (): never => {
    throw new Error('broken');
  };
  expect(() => withMatmulPrecision('mixed', broken)).toThrow('broken');
  expect(matmulPrecision()).toBe('float32');
});
