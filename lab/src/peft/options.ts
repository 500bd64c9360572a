/**
 * @file The methods of parameter-efficient fine-tuning by name, and what can be decided about each: additive (adapters, soft
 * prompts, (IA)³), selective (BitFit, last layers), reparametrizing (LoRA, DoRA), and several at once.
 *
 * A target is a pattern of paths, `blocks.*.attention.query`, or its end: `query`, `attention.*`.
 */

/** What every method takes. */
interface Common {
  /** Decides the first values and what dropout forgets (default 0). */
  readonly seed?: number;
}

/** Hu et al. 2021, section 4.1. */
export interface LoRAOptions extends Common {
  readonly method: 'lora' | 'dora';
  /** r, the rank of the change (default 8). */
  readonly rank?: number;
  /** The change counts alpha / rank times (default: rank, that is once). */
  readonly alpha?: number;
  /** alpha / √rank in place of alpha / rank. Kalajdzievski 2023 (rsLoRA). Default false. */
  readonly rankStabilized?: boolean;
  /** The share of the input to forget in training (default 0); not for embeddings. */
  readonly dropout?: number;
  /** Linear layers, and with 'lora' the token embedding (default query and value, as in the paper). */
  readonly targets?: readonly string[];
}

/** Liu et al. 2022, section 3.3. */
export interface IA3Options extends Common {
  readonly method: 'ia3';
  /** Linear layers (default key, value and the MLP's down). */
  readonly targets?: readonly string[];
  /** Those of the targets whose input is scaled, not their output (default down). */
  readonly feedForward?: readonly string[];
}

/** Houlsby et al. 2019, section 2: behind a layer. He et al. 2022, section 3: beside it. */
export interface AdapterOptions extends Common {
  readonly method: 'houlsby' | 'parallel';
  /** r, the width of the bottleneck (default 8). */
  readonly size?: number;
  /** What the adapter adds counts so many times (default 1). */
  readonly scale?: number;
  /** Layers ('houlsby': the attention's output and the MLP; 'parallel': the MLP alone). */
  readonly targets?: readonly string[];
}

/** Ben Zaken et al. 2022. */
export interface BitFitOptions extends Common {
  readonly method: 'bitfit';
  /** Layers whose biases are trained (default all). */
  readonly targets?: readonly string[];
}

/** Howard and Ruder 2018 and many before: only the end of the model is trained. */
export interface LastLayersOptions extends Common {
  readonly method: 'last-layers';
  /** How many blocks, from the last one back, beside the final norm (default 1). */
  readonly layers?: number;
  /** The head too, where it is not tied to the embedding (default true). */
  readonly head?: boolean;
}

/** Lester et al. 2021. */
export interface PromptOptions extends Common {
  readonly method: 'prompt';
  /** n, virtual tokens in front of the text (default 8). */
  readonly tokens?: number;
  /** 'random' (default), 'vocabulary': the vectors of random tokens, or token ids: their vectors, repeated or cut to n. */
  readonly start?: 'random' | 'vocabulary' | readonly number[];
}

/** Li and Liang 2021. */
export interface PrefixOptions extends Common {
  readonly method: 'prefix';
  /** n, keys and values in front of the text's, in every layer (default 8). */
  readonly tokens?: number;
  /** Make them by an MLP of this width out of n vectors, which trains more steadily; without one unless told. Section 4.3. */
  readonly hiddenSize?: number;
}

export type PartOptions =
  LoRAOptions | IA3Options | AdapterOptions | BitFitOptions | LastLayersOptions | PromptOptions | PrefixOptions;

/** Several methods at once. He et al. 2022, section 4.6; Mao et al. 2022 (UniPELT). */
export interface HybridOptions {
  readonly method: 'hybrid';
  readonly parts: readonly PartOptions[];
}

export type AdaptationOptions = PartOptions | HybridOptions;
