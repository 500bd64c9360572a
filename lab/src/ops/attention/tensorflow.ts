/**
 * @file Attention on TensorFlow, which has no operation for it: block by block, from its own products.
 */
import { onBackendStart } from '../../backend/index.ts';
import { RowBlockAttention } from './row-blocks.ts';
import { ATTENTION_KERNELS, registerAttentionKernel } from './kernel.ts';

/** Below 64 MiB of scores the plain path keeps them and need not make them again: a third less time. */
const LEAST_SCORES = 2 ** 24;

onBackendStart('tensorflow', async () => {
  const unregister = registerAttentionKernel('tensorflow', new RowBlockAttention({ leastScores: LEAST_SCORES }));
  return {
    description: 'attention block by block',
    operations: ATTENTION_KERNELS,
    async remove() {
      unregister();
    },
  };
});
