/** @file The quality of data: a pipeline that normalises, deduplicates and filters, and says what it removed and why. */
export * from './filter.ts';
export * from './source.ts';
export * from './normalise.ts';
export * from './exact.ts';
export { collisionProbability, jaccard, MinHash, type MinHashOptions } from './minhash.ts';
export * from './near.ts';
export { gopherDefaults, gopherMeasures, gopherQuality, type GopherMeasures, type GopherOptions } from './gopher.ts';
export { duplicateShare, gopherRepetition, repeatedParts, repetitionDefaults, topShare } from './repetition.ts';
export type { RepetitionOptions } from './repetition.ts';
export { boilerplate, boilerplatePatterns, type BoilerplateOptions, type BoilerplatePattern } from './boilerplate.ts';
export { commonLines, type CommonLinesOptions } from './common-lines.ts';
export * from './classifier.ts';
export * from './contamination.ts';
export { formatQualityReport, type TextAmount, type RemovalExample, type FilterReport, type QualityReport } from './report.ts';
export { cleanDocuments, usualFilters, type CleanedInMemory, type CleanOptions } from './in-memory.ts';
export * from './pipeline.ts';
